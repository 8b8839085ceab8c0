"""Safe decoding of one radiograph to 8-bit pixels: JPEG, PNG, TIFF, WebP, BMP, JPEG 2000, DICOM.

What is in the file decides, never its name. Whatever is wrong with it comes out as a `DataError` with a short reason
and without the file's name, which the caller knows. Defences: an explicit list of formats, a size limit on the file and
on its pixels, `verify()` and then a full `load()`, and no truncated images. `bounded` adds those on memory and time.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from pneumo_core.data import deep, dicom
from pneumo_core.data.quiet import quietly
from pneumo_core.errors import DataError

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000")
READ = "JPEG, PNG, TIFF, WebP, BMP, JPEG 2000 or DICOM"
MAX_FILE_BYTES = 512 * 2**20  # far above any radiograph (a 16-bit 4,000 × 5,000 px one is 40 MB)
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
NOT_AN_IMAGE = f"is not a {READ} image; export it as one, or leave it out"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about its image before any pixel is decoded. `mode` is Pillow's (`L`, `RGB`, `I;16`, …)."""

    width_px: int
    height_px: int
    mode: str
    format: str
    is_progressive: bool = False  # a JPEG in several scans


def header(source: Path | bytes) -> Header:
    """Return the facts in the header of an image; raises `DataError` where there is no such image."""
    data = read_bytes(source)
    if dicom.is_dicom(data):
        width, height, mode = dicom.size_and_mode(data, MAX_PIXELS)
        return Header(width_px=width, height_px=height, mode=mode, format="DICOM")
    with _open(data) as image:
        return Header(
            width_px=image.width,
            height_px=image.height,
            mode=image.mode,
            format=str(image.format),
            is_progressive="progressive" in image.info,
        )


def decode(source: Path | bytes, *, channels: int, at_least_px: int | None = None) -> Pixels:
    """Return the upright pixels of an image, (h, w, `channels`) uint8, 1 channel grey or 3 RGB.

    A JPEG far larger than `at_least_px` is decoded at 1/2, 1/4 or 1/8 of its size, its sides never below
    `at_least_px`: several times faster, and the result depends on the number, so that number is part of the
    preprocessing's identity. Deeper pixels are scaled to 8 bits by their range. Raises `DataError` on a bad file.
    """
    pixels = np.asarray(decode_noted(source, channels=channels, at_least_px=at_least_px)[0])
    return pixels if channels == 3 else pixels[:, :, np.newaxis]


def decode_noted(source: Path | bytes, *, channels: int, at_least_px: int | None = None) -> tuple[Image.Image, str]:
    """Return what `decode` does as an image of Pillow's mode L or RGB, which is resized without a copy.

    With it comes which rules of the file could not be followed, "" for none.
    """
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3, got {channels!r}")
    data = read_bytes(source)
    if dicom.is_dicom(data):
        pixels, note = dicom.decode(data, MAX_PIXELS)
        return _with_channels(Image.fromarray(pixels), channels), note
    _verify(data)
    try:
        with _open(data) as image:
            if image.format == "JPEG" and image.mode in ("L", "RGB"):
                image.draft("L" if channels == 1 else "RGB", (at_least_px, at_least_px) if at_least_px else None)
            return _with_channels(_upright(deep.eight_bits(image)), channels), ""
    except (DataError, MemoryError):
        raise
    except Exception as error:  # hostile files raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise DataError(_reason(error)) from error


def read_bytes(source: Path | bytes) -> bytes:
    """Return the bytes of a file, or `source` itself; raises `DataError` for none, too many or unreadable ones."""
    if isinstance(source, bytes):
        return _not_empty(source)
    try:
        size_of(source)
        return _not_empty(source.read_bytes())
    except OSError as error:
        raise _unreadable(error) from error


def size_of(source: Path) -> int:
    """Return the bytes of a file that may be read; raises `DataError` for another."""
    try:
        if not source.is_file():  # a pipe or device would block for ever
            raise DataError("is not a regular file; leave it out" if source.exists() else "does not exist")
        if (size := source.stat().st_size) > MAX_FILE_BYTES:
            raise DataError(f"has {size} bytes, more than the {MAX_FILE_BYTES} an image may have; leave it out")
        return size
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> DataError:
    return DataError(f"can't be read: {error.strerror or type(error).__name__}")


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise DataError("is empty (0 bytes); copy it again")
    return data


def _open(data: bytes) -> ImageFile:
    too_large = f"has more than the {MAX_PIXELS} pixels an image may have; export it smaller"
    try:
        with quietly():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(too_large) from error
    except Exception as error:  # see `decode_noted`
        raise DataError(NOT_AN_IMAGE) from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(too_large)
    if image.format != "JPEG" and getattr(image, "is_animated", False):  # a JPEG may carry its own preview
        raise DataError("holds several images; export the one to be read")
    return image


def _verify(data: bytes) -> None:
    """Check the sums in a PNG; no other format has any, so Pillow would open it for nothing."""
    if not data.startswith(b"\x89PNG"):
        return
    try:
        with _open(data) as image:
            image.verify()  # leaves the image unusable: it is opened again to be loaded
    except (DataError, MemoryError):
        raise
    except Exception as error:  # see `decode_noted`
        raise DataError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if "truncated" in str(error).lower():
        return "is truncated; copy it again"
    return f"is damaged ({type(error).__name__}); copy or export it again"


def _upright(image: Image.Image) -> Image.Image:
    with quietly():
        image.getexif()  # it is kept
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)  # hidden pixels hold anything
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
