"""One image as a row of arrays: decoded to pixels, then made the size that a network takes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.data import reading
from pneumo_core.specs import DataSpec

Pixels = NDArray[np.uint8]

PREPROCESSING_VERSION = 3  # raise it whenever the same image and `DataSpec` would give other pixels
OVERSAMPLING = 2  # large JPEGs are decoded at a fraction of their size, at least this many times the target's
DECODED_PX = 448  # and at least so large, whatever the target: a scan decodes once for look-alikes and all small arrays
PAD_VALUE = 0  # black: what a radiograph shows where no X-ray was stopped or none came, so the margin looks like air


def decoding(data: DataSpec) -> tuple[int, int]:
    """Return the `channels` and `at_least_px` with which `reading.decode` decodes an image for `data`."""
    return data.channels, max(DECODED_PX, OVERSAMPLING * data.image_size_px)


def to_size(pixels: Pixels, data: DataSpec) -> Pixels:
    """Return `pixels` (h, w, c) as `data.shape`, antialiased (Pillow's bilinear widens its filter when shrinking).

    "squash" changes the aspect ratio. "pad" keeps it, centred on black.
    """
    return resized(Image.fromarray(pixels[:, :, 0] if data.channels == 1 else pixels), data)


def resized(image: Image.Image, data: DataSpec) -> Pixels:
    """Return what `to_size` does from an image of Pillow's mode L or RGB."""
    side = data.image_size_px
    if data.resize == "squash":
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small).reshape(data.shape)
    scale = side / max(image.size)
    width, height = (max(1, min(side, round(length * scale))) for length in image.size)
    canvas = np.full(data.shape, PAD_VALUE, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    canvas[top : top + height, left : left + width] = np.asarray(small).reshape(height, width, data.channels)
    return canvas


def to_sizes(decode: Callable[[int, int], Pixels], specs: Sequence[DataSpec]) -> tuple[Pixels, ...]:
    """Return one image as each of `specs` wants it; `decode(channels, at_least_px)` is called once for each way."""
    decoded = {way: decode(*way) for way in dict.fromkeys(map(decoding, specs))}
    return tuple(to_size(decoded[decoding(spec)], spec) for spec in specs)


def of_file(source: Path | bytes, specs: Sequence[DataSpec]) -> tuple[Pixels, ...]:
    """Return one image file as each of `specs` wants it; raises `DataError` on a bad file."""
    data = reading.read_bytes(source)
    return to_sizes(lambda channels, px: reading.decode(data, channels=channels, at_least_px=px), specs)
