"""Random changes of training images, uint8 in and out, with NumPy and Pillow only.

Every parameter of a pass over the images is drawn at once from one seed, so an image gets the same change
whatever batch, thread or process it is changed in.
"""

from dataclasses import dataclass

import numpy as np

from pneumo_core import pictures
from pneumo_core.pictures import Pixels
from pneumo_core.specs import AugmentSpec

JPEG_QUALITY = (30, 90)  # from visibly blocky to what cameras and archives write
WAYS = ("blur", "sharpen", "coarsen")  # of changing how sharp a picture is: one of them, they would undo each other
LARGEST_LEVEL = 0.5  # of bars and rectangles: black to grey, as markers, collimation and clothes show


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The drawn change of each of n images; every field has n rows."""

    flip: np.ndarray  # (n,) bool
    affine: np.ndarray  # (n, 2, 3) output to input coordinates about the image centre, in image sides
    contrast: np.ndarray  # (n,) factor
    brightness: np.ndarray  # (n,) added
    gamma: np.ndarray  # (n,) exponent
    black: np.ndarray  # (n,) level that black is lifted to
    way: np.ndarray  # (n,) in [0, 1): which one of blur, sharpen and coarsen
    blur: np.ndarray  # (n,) radius in sides
    sharpen: np.ndarray  # (n,) strength
    coarsen: np.ndarray  # (n,) detail lost, in sides
    noise: np.ndarray  # (n,) deviation
    noise_seed: np.ndarray  # (n,) int
    border: np.ndarray  # (n, 4) left, top, right, bottom in sides
    erase: np.ndarray  # (n, 4)
    levels: np.ndarray  # (n, 2) of the bar and of the rectangle
    jpeg_quality: np.ndarray  # (n,) int; 0: no round trip

    def __getitem__(self, rows: np.ndarray | int) -> "Changes":
        return Changes(**{name: values[rows] for name, values in vars(self).items()})

    def __setitem__(self, rows: np.ndarray, changes: "Changes") -> None:
        for name, values in vars(self).items():
            values[rows] = getattr(changes, name)


def draw(spec: AugmentSpec, n_images: int, seed: int) -> Changes:
    """Draw the changes of `n_images` images.

    Each field has a stream of its own, so that turning one on leaves the others as they were.
    """
    names = ("flip", "pose", "tone", "detail", "noise", "border", "erase", "levels", "jpeg")
    rng = dict(zip(names, np.random.default_rng(seed).spawn(len(names)), strict=True))
    contrast, brightness, gamma = rng["tone"].uniform(-1, 1, (3, n_images))
    way, blur, sharpen, coarsen = rng["detail"].random((4, n_images))
    quality = rng["jpeg"].integers(*JPEG_QUALITY, size=n_images, endpoint=True)
    return Changes(
        flip=rng["flip"].random(n_images) < spec.flip,
        affine=_matrices(spec, rng["pose"], n_images),
        contrast=1 + spec.contrast * contrast,
        brightness=spec.brightness * brightness,
        gamma=(1 + spec.gamma) ** gamma,
        black=spec.black * rng["tone"].random(n_images),
        way=way,
        blur=spec.blur * blur,
        sharpen=spec.sharpen * sharpen,
        coarsen=spec.coarsen * coarsen,
        noise=spec.noise * rng["noise"].random(n_images),
        noise_seed=rng["noise"].integers(2**31, size=n_images),
        border=_bars(spec.border, rng["border"], n_images),
        erase=_rectangles(spec.erase, rng["erase"], n_images),
        levels=LARGEST_LEVEL * rng["levels"].random((n_images, 2)),
        jpeg_quality=np.where(rng["jpeg"].random(n_images) < spec.jpeg, quality, 0),
    )


def none(shape: tuple[int, ...]) -> Changes:
    """Return changes of `shape` that change nothing."""
    flat = draw(AugmentSpec(), int(np.prod(shape)), 0)
    return Changes(**{name: values.reshape(*shape, *values.shape[1:]) for name, values in vars(flat).items()})


def apply(spec: AugmentSpec, images: Pixels, changes: Changes) -> Pixels:
    """Return changed copies of `images` (n, h, w, c) uint8, one row of `changes` each.

    The order follows the picture's way to the reader: pose of the patient, detail, exposure, noise, framing,
    compression.
    """
    changed = np.array(images)
    for row, pixels in enumerate(images):
        changed[row] = _changed(spec, pixels, changes, row)
    return changed


def bends(spec: AugmentSpec) -> bool:
    """Return whether `Changes.affine` moves pixels."""
    return any((spec.rotation_deg, spec.shear_deg, spec.zoom, spec.crop, spec.aspect, spec.shift))


def _changed(spec: AugmentSpec, pixels: Pixels, changes: Changes, row: int) -> Pixels:
    if changes.flip[row]:
        pixels = pixels[:, ::-1]
    if bends(spec):
        pixels = pictures.warp(pixels, changes.affine[row])
    pixels = _detailed(spec, pixels, changes, row)
    if spec.contrast or spec.brightness or spec.gamma or spec.black:
        pixels = pictures.tone(
            pixels,
            contrast=float(changes.contrast[row]),
            brightness=float(changes.brightness[row]),
            gamma=float(changes.gamma[row]),
            black=float(changes.black[row]),
        )
    if spec.noise:
        pixels = pictures.add_noise(pixels, float(changes.noise[row]), int(changes.noise_seed[row]))
    for boxes, level in ((changes.border, changes.levels[row, 0]), (changes.erase, changes.levels[row, 1])):
        if boxes[row].any():
            pixels = pictures.cover(pixels, tuple(boxes[row].tolist()), float(level))
    return pictures.recompress(pixels, int(changes.jpeg_quality[row])) if changes.jpeg_quality[row] else pixels


def _detailed(spec: AugmentSpec, pixels: Pixels, changes: Changes, row: int) -> Pixels:
    """Change how sharp the picture is, in one of the ways that `spec` allows."""
    ways = [way for way in WAYS if getattr(spec, way)]
    if not ways:
        return pixels
    way = ways[int(changes.way[row] * len(ways))]
    amount = float(getattr(changes, way)[row])
    if way == "coarsen":
        return pictures.coarsen(pixels, amount) if amount * max(pixels.shape) > 1 else pixels
    return pictures.blur(pixels, amount) if way == "blur" else pictures.sharpen(pixels, amount)


def _matrices(spec: AugmentSpec, rng: np.random.Generator, n_images: int) -> np.ndarray:
    angle, shear, zoom, shift_x, shift_y, aspect = rng.uniform(-1, 1, (6, n_images))  # (n,) each
    a, s = np.radians(spec.rotation_deg) * angle, np.radians(spec.shear_deg) * shear
    scale, stretch = 1 + spec.zoom * zoom, (1 + spec.aspect) ** (aspect / 2)
    linear = np.array([[np.cos(a), -np.sin(a + s)], [np.sin(a), np.cos(a + s)]])  # (2, 2, n)
    linear = linear / np.stack([scale * stretch, scale / stretch])  # (2, n) by columns
    window = 1 - spec.crop * rng.random(n_images)  # side
    place = (1 - window) / 2 * rng.uniform(-1, 1, (2, n_images))  # of its centre
    linear, shift = linear * window, spec.shift * np.stack([shift_x, shift_y]) + place
    return np.concatenate([np.moveaxis(linear, 2, 0), shift.T[:, :, None]], axis=2)  # (n, 2, 3)


def _bars(widest: float, rng: np.random.Generator, n_images: int) -> np.ndarray:
    """Return a bar along one side of each image, (n, 4); all 0 where `widest` is."""
    width, side = widest * rng.random(n_images), rng.integers(4, size=n_images)
    bars = np.tile([0.0, 0.0, 1.0, 1.0], (n_images, 1))  # left, top, right, bottom
    rows = np.arange(n_images)
    bars[rows, (side + 2) % 4] = np.where(side < 2, width, 1 - width)  # the edge across from the side it lies on
    return bars if widest else np.zeros((n_images, 4))


def _rectangles(longest: float, rng: np.random.Generator, n_images: int) -> np.ndarray:
    """Return a rectangle inside each image, (n, 4)."""
    size, place = longest * rng.random((n_images, 2)), rng.random((n_images, 2))
    first = place * (1 - size)
    return np.concatenate([first, first + size], axis=1) if longest else np.zeros((n_images, 4))
