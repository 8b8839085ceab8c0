"""DICOM radiographs to 8-bit pixels. Needs the extra `dicom` (pydicom and decoders).

Only the attributes named here are ever parsed. `dicom_values` reads them, `voi` interprets them.
"""

import hashlib
import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.data import parts, voi
from pneumo_core.data.dicom_layout import JPEG_BASELINE, Layout, is_dicom, layout
from pneumo_core.data.dicom_values import EXPORT, Values, guarded, parse, pydicom
from pneumo_core.data.quiet import quietly
from pneumo_core.data.voi import Lookup, Rules
from pneumo_core.errors import DataError

__all__ = ["decode", "is_baseline", "is_dicom", "layout", "patient_digest", "size_and_mode"]

_SIZE = (
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation"),
    *("SamplesPerPixel", "BitsStored", "BitsAllocated"),
)
_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")
_PIXELS = (
    *_SIZE,
    *("PixelData", *_OTHER_PIXELS),
    *("HighBit", "PixelRepresentation", "PlanarConfiguration", "LossyImageCompression"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
)
_LUT = ("LUTDescriptor", "LUTData")
_STREAM_HEAD_BYTES = 4096
_UNDECODED = "is a DICOM file whose pixels (PixelData) can't be decoded ({kind})"
_MODES = {"MONOCHROME1": "L", "MONOCHROME2": "L", "RGB": "RGB", "YBR_FULL": "RGB", "YBR_FULL_422": "RGB"}
_SIZE_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})


def size_and_mode(data: bytes, max_pixels: int) -> tuple[int, int, str]:
    """Return (width, height, mode) of a one-frame image; `mode` is `L`, `I;16` or `RGB`."""
    with quietly():
        found = Values(parse(data, _SIZE))
        width, height, mode = _checked(found, max_pixels)
        return width, height, "I;16" if mode == "L" and found.whole("BitsStored", 8) > 8 else mode


def patient_digest(data: bytes) -> str:
    """Return a digest of the patient's identifier, or "" where there is none or it can't be read."""
    with quietly():
        identifier = Values(parse(data, ("PatientID",))).text("PatientID").strip()
    return hashlib.blake2b(identifier.encode(errors="replace"), digest_size=8).hexdigest() if identifier else ""


def decode(data: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], str]:
    """Return the pixels of a one-frame image, (h, w) or (h, w, 3) uint8, black background, and a note or "".

    The note says which attributes could not be followed and what was done instead.
    """
    where = layout(data)
    with quietly():
        dataset = parse(data, _PIXELS)
        found = Values(dataset)
        width, height, mode = _checked(found, max_pixels)
        _check_there(found, width, height)
        _check_length(found, where, width * height)
        rules = _rules(found) if mode == "L" else None
        syntax, frame = _frame(dataset, where)
        _check_inside(frame, (width, height))
        is_jpeg = syntax == JPEG_BASELINE and mode == "L"
        stored = None if is_jpeg else _pixels(dataset, (height, width))
    stored = _jpeg_pixels(frame) if stored is None else stored
    return voi.rendered(stored, rules) if rules else (np.ascontiguousarray(stored, np.uint8), "")


def is_baseline(data: bytes, where: Layout) -> bool:
    """Return whether a compressed image is a sequential JPEG of the size in the header. True for uncompressed ones."""
    if not where.encapsulated:
        return True
    start = data.find(b"\xff\xd8", where.pixels[0])
    stream = data[start : where.pixels[1]] if start >= 0 else b""
    if b"\xff\xc0" not in stream[:_STREAM_HEAD_BYTES] or not parts.are_followed(stream):
        return False
    return codestream_size(stream) == (where.columns, where.rows)


def _checked(found: Values, max_pixels: int) -> tuple[int, int, str]:
    """Return (width, height, mode) of an image that is read; raises `DataError` naming what it isn't read for."""
    for name in ("Rows", "Columns", "PhotometricInterpretation"):
        if found.raw(name) is None:
            raise DataError(f"is a DICOM file without an image: it has no {name}; leave it out")
    width, height = found.whole("Columns", 0), found.whole("Rows", 0)
    if (n_frames := found.whole("NumberOfFrames", 1)) != 1:
        raise DataError(f"is a DICOM file of {n_frames} frames (NumberOfFrames); export the one to be read")
    if not 0 < width * height <= max_pixels:
        raise DataError(f"is a DICOM file of {width} × {height} pixels (Columns, Rows); at most {max_pixels} are read")
    photometric = found.text("PhotometricInterpretation")
    if photometric not in _MODES:
        known = photometric if photometric.replace(" ", "").replace("_", "").isalnum() else "another"
        raise DataError(
            f"is a DICOM file whose PhotometricInterpretation is {known[:16]}, a kind that is not read; "
            f"export it as MONOCHROME2 or RGB (read: {', '.join(_MODES)})"
        )
    n_samples, bits = found.whole("SamplesPerPixel", 1), found.whole("BitsStored", 8)
    if n_samples != (1 if _MODES[photometric] == "L" else 3):
        raise DataError(f"is a DICOM file whose SamplesPerPixel is {n_samples}, but {photometric}; {EXPORT}")
    if n_samples > 1 and bits > 8:
        raise DataError(f"is a DICOM file in colour whose BitsStored is {bits}; export it with 8, or as MONOCHROME2")
    return width, height, _MODES[photometric]


def _check_there(found: Values, width: int, height: int) -> None:
    """Raise `DataError` for a file that describes pixels and has none: a report, or an export that left them out."""
    if found.raw("PixelData") is not None:
        return
    other = next((name for name in _OTHER_PIXELS if found.has(name)), None)
    if other:
        raise DataError(f"is a DICOM file whose pixels are in {other}, which is not read; export it with PixelData")
    raise DataError(
        f"is a DICOM file of {width} × {height} pixels (Columns, Rows) whose PixelData is missing: {EXPORT}, or leave "
        "it out"
    )


def _check_length(found: Values, where: Layout | None, n_pixels: int) -> None:
    """Raise `DataError` for pixels that are too few for what the header says."""
    if where is None or where.encapsulated:
        return
    n_there = where.pixels[1] - where.pixels[0]
    n_needed = n_pixels * found.whole("SamplesPerPixel", 1) * found.whole("BitsAllocated", 8) // 8
    if n_there < n_needed and found.text("PhotometricInterpretation") != "YBR_FULL_422":
        raise DataError(
            f"is a DICOM file whose PixelData holds {n_there} bytes, but its Rows, Columns and BitsAllocated need "
            f"{n_needed}: it was cut short; copy or {EXPORT}"
        )


def _rules(found: Values) -> Rules:
    bits = found.whole("BitsStored", 8)
    allocated = found.whole("BitsAllocated", bits)
    signed = found.whole("PixelRepresentation", 0) == 1
    notes = [
        f"{name} is empty and taken as {instead}"
        for name, instead in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        if found.has(name) and found.number(name) is None
    ]
    return Rules(
        eight_bits=bits <= 8,
        inverted=found.text("PhotometricInterpretation") == "MONOCHROME1",
        padding=_padding(found, allocated, signed),
        slope=found.number("RescaleSlope"),
        intercept=found.number("RescaleIntercept"),
        modality=_lookup(found, "ModalityLUTSequence"),
        center=found.number("WindowCenter"),
        width=found.number("WindowWidth"),
        function=found.text("VOILUTFunction"),
        lookup=_lookup(found, "VOILUTSequence"),
        notes=tuple(notes),
    )


def _padding(found: Values, bits: int, signed: bool) -> tuple[float, float] | None:
    """Return the range of stored values that are padding; many writers mistake the sign."""
    first = found.number("PixelPaddingValue")
    if first is None:
        return None
    last = found.number("PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    shift = 2.0**bits * ((high < least) - (low > most))
    return low + shift, high + shift


def _lookup(found: Values, name: str) -> Lookup | None:
    """Return the first table of a sequence; one without entries where it can't be followed."""
    item = found.item(name)
    if item is None:
        return None
    descriptor, entries = (item.array(part) for part in _LUT)
    if descriptor is None or entries is None or len(descriptor) != 3:
        return Lookup(first=0, entries=np.empty(0))
    n, first = int(descriptor[0]) or 2**16, float(descriptor[1])
    if len(entries) * 2 == n:  # two 8-bit entries in each 16-bit word
        entries = np.frombuffer(entries.astype("<u2").tobytes(), np.uint8).astype(np.float64)
    return Lookup(first=first, entries=entries[:n] if len(entries) >= n else np.empty(0))


def _pixels(dataset: Any, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the stored values, (h, w) or (h, w, 3); of pixels for more frames than there are, the first."""
    with guarded(f"{_UNDECODED}; export the image without compression"):
        stored = np.asarray(dataset.pixel_array)
        return stored if stored.shape[:2] == shape else stored.reshape(-1, *shape, *stored.shape[3:])[0]


def _frame(dataset: Any, where: Layout | None) -> tuple[str, bytes]:
    """Return the transfer syntax and the compressed stream of the one frame, empty where it isn't compressed."""
    if where is not None and not where.encapsulated:
        return where.syntax, b""
    reader = pydicom()
    with guarded(f"is a DICOM file whose TransferSyntaxUID or compressed PixelData is damaged ({{kind}}); {EXPORT}"):
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
        if not reader.uid.UID(syntax).is_encapsulated:
            return syntax, b""
        return syntax, reader.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)


def _check_inside(frame: bytes, size: tuple[int, int]) -> None:
    """Raise `DataError` where the stream is of another size than the header says: decoders make room for it."""
    inside = codestream_size(frame)
    if inside is not None and inside != size:
        raise DataError(
            f"is a DICOM file of {size[0]} × {size[1]} pixels (Columns, Rows) with a compressed image of "
            f"{inside[0]} × {inside[1]} in its PixelData; {EXPORT}"
        )


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Return (width, height) that a JPEG, JPEG-LS or JPEG 2000 stream states; None where it states none."""
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 24:  # SOC, SIZ of JPEG 2000
        right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
        return right - left, bottom - top
    offset = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while offset + 9 <= len(frame) and frame[offset] == 0xFF:
        marker = frame[offset + 1]
        if marker in _SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", frame, offset + 5)
            return width, height
        if marker == 0xFF:
            offset += 1
        else:
            offset += 2 + max(2, int.from_bytes(frame[offset + 2 : offset + 4], "big"))
    return None


def _jpeg_pixels(frame: bytes) -> NDArray[Any]:
    with guarded(f"{_UNDECODED}; {EXPORT}"):
        with quietly():
            image = Image.open(io.BytesIO(frame), formats=("JPEG",))
        return np.asarray(image if image.mode == "L" else image.convert("L"))
