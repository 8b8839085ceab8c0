"""Random changes of training images, uint8 in and out, with NumPy and Pillow only.

Every parameter of a pass over the images is drawn at once from one seed, so an image gets the same change
whatever batch, thread or process it is changed in.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from pneumo_core.specs import AugmentSpec

JPEG_QUALITY = (30, 90)  # from visibly blocky to what cameras and archives write


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The drawn change of each of n images; every field has n rows."""

    flip: np.ndarray  # (n,) bool
    affine: np.ndarray  # (n, 2, 3) output to input pixel coordinates about the image centre, in image sides
    contrast: np.ndarray  # (n,) factor
    blur_px: np.ndarray  # (n,)
    jpeg_quality: np.ndarray  # (n,) int; 0: no round trip

    def __getitem__(self, rows: np.ndarray) -> "Changes":
        return Changes(**{name: values[rows] for name, values in vars(self).items()})


def draw(spec: AugmentSpec, n_images: int, seed: int) -> Changes:
    """Draw the changes of `n_images` images."""
    rng = np.random.default_rng(seed)
    # Every field is drawn whether or not it is used, so that turning one on leaves the others as they were.
    flip, jpeg = rng.random((2, n_images))
    angle, shear, zoom, shift_x, shift_y, contrast = rng.uniform(-1, 1, (6, n_images))
    blur = rng.random(n_images)
    quality = rng.integers(*JPEG_QUALITY, size=n_images, endpoint=True)
    return Changes(
        flip=flip < spec.flip,
        affine=_matrices(spec, angle, shear, zoom, np.stack([shift_x, shift_y], axis=1)),
        contrast=1 + spec.contrast * contrast,
        blur_px=spec.blur_px * blur,
        jpeg_quality=np.where(jpeg < spec.jpeg, quality, 0),
    )


def apply(spec: AugmentSpec, images: np.ndarray, changes: Changes) -> np.ndarray:
    """Return changed copies of `images` (n, h, w, c) uint8, one row of `changes` each.

    The order follows the picture's way to the reader: pose of the patient, exposure, blur, compression.
    """
    images = np.where(changes.flip[:, None, None, None], images[:, :, ::-1], images) if spec.flip else images
    if spec.rotation_deg or spec.shear_deg or spec.zoom or spec.shift:
        images = _warp(spec, images, changes.affine)
    if spec.contrast:
        images = _stretch(images, changes.contrast)
    if spec.blur_px:
        images = _each(images, _blur, changes.blur_px)
    if spec.jpeg:
        images = _each(images, _recompress, changes.jpeg_quality)
    return images


def _matrices(
    spec: AugmentSpec, angle: np.ndarray, shear: np.ndarray, zoom: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    a, s = np.radians(spec.rotation_deg) * angle, np.radians(spec.shear_deg) * shear  # (n,)
    scale = 1 / (1 + spec.zoom * zoom)
    linear = np.array([[np.cos(a), -np.sin(a + s)], [np.sin(a), np.cos(a + s)]]) * scale  # (2, 2, n)
    return np.concatenate([np.moveaxis(linear, 2, 0), spec.shift * shift[:, :, None]], axis=2)  # (n, 2, 3)


def _warp(spec: AugmentSpec, images: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Warp with bilinear sampling; beyond the border the nearest edge pixel is repeated.

    Black corners would tell changed images from true ones and darken their mean; repeating the edge costs
    one padded copy of the batch.
    """
    height, width = images.shape[1:3]
    margin = _margin_px(spec, max(height, width))
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    centre = np.array([width, height]) / 2
    linear, shift = affine[:, :, :2], affine[:, :, 2] * (width, height)
    offset = shift + centre - linear @ centre + margin  # (n, 2) pixels
    coefficients = np.concatenate([linear, offset[:, :, None]], axis=2).reshape(-1, 6).tolist()
    warped = np.empty_like(images)
    for target, source, row in zip(warped, padded, coefficients, strict=True):
        # Pillow goes from output to input pixels and adds the half pixel of their centres itself.
        picture = _picture(source).transform((width, height), Image.Transform.AFFINE, row, Image.Resampling.BILINEAR)
        target[:] = np.asarray(picture).reshape(target.shape)
    return warped


def _margin_px(spec: AugmentSpec, side_px: int) -> int:
    """Return how far outside the image the strongest change reads; of the spec alone, so batches don't matter."""
    slant = math.sin(math.radians(min(90.0, spec.rotation_deg + spec.shear_deg)))
    return 2 + math.ceil(side_px * ((1 + slant) / (1 - spec.zoom) / 2 - 0.5 + spec.shift))


def _stretch(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    mean = images.mean(axis=(1, 2, 3), dtype=np.float32, keepdims=True)
    stretched = mean + factor.astype(np.float32)[:, None, None, None] * (images - mean)
    rounded: np.ndarray = np.rint(stretched.clip(0, 255)).astype(np.uint8)
    return rounded


def _each(images: np.ndarray, change: Callable[[Image.Image, float], Image.Image], amounts: np.ndarray) -> np.ndarray:
    changed = np.array(images)
    for target, source, amount in zip(changed, images, amounts.tolist(), strict=True):
        if amount:
            target[:] = np.asarray(change(_picture(source), amount)).reshape(target.shape)
    return changed


def _blur(picture: Image.Image, radius_px: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius_px))


def _recompress(picture: Image.Image, quality: float) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer, formats=("JPEG",))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
