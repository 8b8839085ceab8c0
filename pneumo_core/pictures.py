"""The changes that augmentation and shifts are made of: one picture (h, w, c) uint8 in, one like it out.

Lengths are shares of the picture's side, so that the same change means the same at every image size. NumPy and Pillow
only.
"""

import io
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels: TypeAlias = NDArray[np.uint8]

CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])  # about the centre, in sides
FINEST = 0.01  # of the side: what sharpening takes for detail


def warp(pixels: Pixels, affine: NDArray[np.float64]) -> Pixels:
    """Return `pixels` seen through `affine` (2, 3), from output to input about the centre, in sides; bilinear.

    Beyond the border the nearest edge pixel is repeated: black corners would distinguish changed pictures from true
    ones.
    """
    height, width, _ = pixels.shape
    linear, shift = affine[:, :2], affine[:, 2]
    reach = float(np.abs(CORNERS @ linear.T + shift).max()) - 0.5
    margin = 2 + max(0, math.ceil(reach * max(height, width)))
    centre = np.array([width, height]) / 2
    offset = shift * (width, height) + centre - linear @ centre + margin
    rows, columns = (np.arange(-margin, side + margin).clip(0, side - 1) for side in (height, width))
    padded = pixels[rows[:, None], columns]
    # Pillow goes from output to input pixels and adds the half pixel of their centres itself.
    row = np.concatenate([linear, offset[:, None]], axis=1).ravel().tolist()
    return _pixels(
        _picture(padded).transform((width, height), Image.Transform.AFFINE, row, Image.Resampling.BILINEAR), pixels
    )


def affine(
    *,
    rotation_deg: float = 0.0,
    shear_deg: float = 0.0,
    zoom: tuple[float, float] = (1.0, 1.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Return the matrix (2, 3) for `warp` that turns, slants and enlarges by `zoom` (x, y), read from `shift` on."""
    a, s = math.radians(rotation_deg), math.radians(shear_deg)
    linear = np.array([[math.cos(a), -math.sin(a + s)], [math.sin(a), math.cos(a + s)]]) / np.array(zoom)
    return np.concatenate([linear, np.array(shift)[:, None]], axis=1)


def tone(
    pixels: Pixels, *, contrast: float = 1.0, brightness: float = 0.0, gamma: float = 1.0, black: float = 0.0
) -> Pixels:
    """Return `pixels` after gamma, `contrast` about the mean, `brightness` added and black lifted to `black`.

    `brightness` and `black` are shares of the range of grey levels; every level maps to one other.
    """
    levels = (np.arange(256) / 255) ** gamma  # (256,)
    counts = np.bincount(pixels.ravel(), minlength=256)
    mean = float(levels @ counts / counts.sum())
    levels = black + (1 - black) * (mean + contrast * (levels - mean) + brightness)
    table: Pixels = np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    return table[pixels]


def blur(pixels: Pixels, radius: float) -> Pixels:
    """Return `pixels` under a Gaussian of `radius` sides."""
    return _pixels(_picture(pixels).filter(ImageFilter.GaussianBlur(radius * max(pixels.shape))), pixels)


def sharpen(pixels: Pixels, strength: float) -> Pixels:
    """Return `pixels` plus `strength` times what a Gaussian of a hundredth of the side takes away."""
    mask = ImageFilter.UnsharpMask(radius=FINEST * max(pixels.shape), percent=round(100 * strength), threshold=0)
    return _pixels(_picture(pixels).filter(mask), pixels)


def coarsen(pixels: Pixels, detail: float) -> Pixels:
    """Return `pixels` without what is smaller than `detail` sides: shrunk to 1 / `detail` pixels and enlarged again."""
    height, width, _ = pixels.shape
    share = min(1.0, 1 / (detail * max(height, width)))
    small = _picture(pixels).resize((max(1, round(share * width)), max(1, round(share * height))), _SMOOTH)
    return _pixels(small.resize((width, height), _SMOOTH), pixels)


def add_noise(pixels: Pixels, deviation: float, seed: int) -> Pixels:
    """Return `pixels` plus Gaussian noise of `deviation`, a share of the range of grey levels."""
    noise = np.random.default_rng(seed).standard_normal(pixels.shape, dtype=np.float32)
    noisy: Pixels = np.rint((pixels + 255 * deviation * noise).clip(0, 255)).astype(np.uint8)
    return noisy


def cover(pixels: Pixels, box: tuple[float, float, float, float], level: float) -> Pixels:
    """Return `pixels` with the rectangle `box` (left, top, right, bottom, in sides) filled with grey `level`."""
    height, width, _ = pixels.shape
    left, top, right, bottom = box
    covered = pixels.copy()
    covered[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = round(
        255 * level
    )
    return covered


def recompress(pixels: Pixels, quality: int) -> Pixels:
    """Return `pixels` after a JPEG round trip at `quality` (1 to 95)."""
    buffer = io.BytesIO()
    _picture(pixels).save(buffer, "JPEG", quality=quality)
    return _pixels(Image.open(buffer, formats=("JPEG",)), pixels)


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _pixels(picture: Image.Image, like: Pixels) -> Pixels:
    return np.asarray(picture).reshape(like.shape)


_SMOOTH = Image.Resampling.BILINEAR
