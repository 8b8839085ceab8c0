"""DICOM radiographs to 8-bit pixels. Needs the extra `dicom` (pydicom and decoders).

Only the attributes named here are ever parsed, so no patient's data can reach a message or a log; errors of pydicom,
whose texts may quote the file, are reduced to their type. Steps: modality LUT, VOI LUT or window, MONOCHROME1 inverted
(DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).
"""

import hashlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core.errors import DataError

_SIZE = ("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "SamplesPerPixel", "BitsStored")
_PIXELS = (
    *_SIZE,
    *("BitsAllocated", "HighBit", "PixelRepresentation", "PlanarConfiguration", "PixelData", "LossyImageCompression"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
)
_MODES = {"MONOCHROME1": "L", "MONOCHROME2": "L", "RGB": "RGB", "YBR_FULL": "RGB", "YBR_FULL_422": "RGB"}


def is_dicom(data: bytes) -> bool:
    """Tell whether `data` starts as a DICOM file does."""
    return data[128:132] == b"DICM"


def size_and_mode(data: bytes, max_pixels: int) -> tuple[int, int, str]:
    """Return (width, height, mode) of a one-frame image; `mode` is `L`, `I;16` or `RGB`."""
    dataset = _parse(data, _SIZE)
    width, height, mode = _checked(dataset, max_pixels)
    return width, height, "I;16" if mode == "L" and int(dataset.get("BitsStored", 8)) > 8 else mode


def patient_digest(data: bytes) -> str:
    """Return a digest of the patient's identifier, or "" where there is none."""
    identifier = str(_parse(data, ("PatientID",)).get("PatientID") or "").strip()
    return hashlib.blake2b(identifier.encode(), digest_size=8).hexdigest() if identifier else ""


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Return the pixels of a one-frame image, (h, w) or (h, w, 3) uint8, black background."""
    dataset = _parse(data, _PIXELS)
    _, _, mode = _checked(dataset, max_pixels)
    try:
        stored = dataset.pixel_array
        return np.ascontiguousarray(stored, np.uint8) if mode == "RGB" else _rendered(stored, dataset)
    except Exception as error:  # pydicom and its decoders raise anything; their texts may quote the file
        raise DataError(f"is a DICOM file whose pixels can't be decoded ({type(error).__name__})") from error


def _parse(data: bytes, attributes: tuple[str, ...]) -> Any:
    pydicom = _pydicom()
    try:
        return pydicom.dcmread(io.BytesIO(data), specific_tags=list(attributes))
    except Exception as error:  # see `decode`
        raise DataError(f"is a damaged DICOM file ({type(error).__name__})") from error


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise DataError(
            "is a DICOM file; install the extra that reads them: pip install 'pneumo-search[dicom]'"
        ) from error
    return pydicom


def _checked(dataset: Any, max_pixels: int) -> tuple[int, int, str]:
    try:
        width, height = int(dataset.Columns), int(dataset.Rows)
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation)
        deep_color = int(dataset.get("SamplesPerPixel", 1)) > 1 and int(dataset.get("BitsStored", 8)) > 8
    except Exception as error:  # see `decode`
        raise DataError("is a DICOM file without an image") from error
    if n_frames != 1:
        raise DataError(f"is a DICOM file of {n_frames} frames; only single images are read")
    if width * height > max_pixels or width * height == 0:
        raise DataError(f"is a DICOM file of {width} × {height} pixels; at most {max_pixels} are read")
    if photometric not in _MODES or deep_color:
        raise DataError("is a DICOM file of a kind that is not read (neither greyscale nor 8-bit colour)")
    return width, height, _MODES[photometric]


def _rendered(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Return grey pixels as a viewer would show them, scaled to 0..255 by the range that the lookup allows."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    shown = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), np.float64)  # (h, w)
    if int(dataset.BitsStored) <= 8 and shown.min() >= 0 and shown.max() <= 255:
        grey = shown  # 8-bit pixels are what they are
    else:
        low, high = shown.min(), shown.max()
        grey = (shown - low) * (255.0 / max(high - low, 1e-9))
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return np.rint(255.0 - grey if inverted else grey).astype(np.uint8)
