"""The changes of `augment` as JAX operations, for images that lie on an accelerator.

The same drawn `Changes` give the same picture as Pillow and NumPy do, to within rounding (the tests say how close), and
noise of the same distribution. What depends on the strength of an image's own change (a kernel, a smaller size) is a
matrix, so that one product serves a whole batch: rows of pixels times the matrix, then columns.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pneumo_core.pictures import FINEST
from pneumo_core.specs import AugmentSpec
from pneumo_core.training.augment import WAYS, Changes, bends

LUMINANCE = np.array(  # ITU-T T.81, table K.1: what every writer of JPEG scales by its quality
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
BLOCK = len(LUMINANCE)
BLUR_PASSES = 3  # of a box, as Pillow makes a Gaussian

Array = Any  # jax.Array, whose operators mypy takes for those of NumPy


def serves(spec: AugmentSpec, shape: tuple[int, ...]) -> bool:
    """Return whether `apply` knows the changes of `spec` for images of `shape` (h, w, c): coloured JPEGs it doesn't."""
    return len(shape) == 3 and (shape[-1] == 1 or not spec.jpeg)


def apply(spec: AugmentSpec, images: Array, changes: Changes) -> Array:
    """Return changed copies of `images` (b, h, w, c) uint8, one row of `changes` each; to be traced by JAX."""
    x = images.astype(jnp.float32)  # whole numbers from 0 to 255, after every step again
    if spec.flip:
        x = jnp.where(_each(changes.flip), x[:, :, ::-1], x)
    if bends(spec):
        x = jax.vmap(_warped)(x, changes.affine)
    x = _detailed(spec, x, changes)
    if spec.contrast or spec.brightness or spec.gamma or spec.black:
        x = _toned(x, changes)
    if spec.noise:
        noise = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), x.shape[1:]))(changes.noise_seed)
        x = _pixels(x + 255 * _each(changes.noise) * noise)
    for boxes, levels in ((changes.border, changes.levels[:, 0]), (changes.erase, changes.levels[:, 1])):
        x = _covered(x, boxes, levels)
    if spec.jpeg:
        x = jnp.where(_each(changes.jpeg_quality > 0), _recompressed(x, changes.jpeg_quality), x)
    return x.astype(jnp.uint8)


def _warped(x: Array, affine: Array) -> Array:
    """See `pictures.warp`; x (h, w, c), affine (2, 3)."""
    height, width, _ = x.shape
    size = jnp.array([width, height], jnp.float32)
    places = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1) + 0.5 - size / 2  # (h, w, 2)
    linear = jnp.einsum("ij,hwj->hwi", affine[:, :2], places, precision="highest")
    at = linear + affine[:, 2] * size + size / 2 - 0.5
    first = jnp.floor(at)
    share = at - first  # (h, w, 2)

    def pixels(dx: int, dy: int) -> Array:
        columns, rows = (first[..., 0] + dx).clip(0, width - 1), (first[..., 1] + dy).clip(0, height - 1)
        return x[rows.astype(jnp.int32), columns.astype(jnp.int32)]

    across, down = share[..., :1], share[..., 1:]
    upper, lower = (pixels(0, dy) + across * (pixels(1, dy) - pixels(0, dy)) for dy in (0, 1))
    return jnp.floor(upper + down * (lower - upper) + 1e-3)  # Pillow cuts off what lies behind the point


def _detailed(spec: AugmentSpec, x: Array, changes: Changes) -> Array:
    """See `augment._detailed`: each image is blurred, sharpened or coarsened."""
    ways = [way for way in WAYS if getattr(spec, way)]
    if not ways:
        return x
    chosen = (changes.way * len(ways)).astype(jnp.int32).clip(0, len(ways) - 1)  # (b,)
    longest = max(x.shape[1:])
    kernels = {
        "blur": lambda side: _gaussian(changes.blur * longest, side),
        "sharpen": lambda side: _gaussian(jnp.full_like(changes.blur, FINEST * longest), side),
        "coarsen": lambda side: _coarse(changes.coarsen * longest, side),
    }

    def matrices(side: int) -> Array:
        return jnp.stack([kernels[way](side) for way in ways])[chosen, jnp.arange(len(x))]  # (b, side, side)

    down, across = matrices(x.shape[1]), matrices(x.shape[2])
    smooth = _pixels(jnp.einsum("bij,bjkc,blk->bilc", down, x, across, precision="highest"))
    if "sharpen" not in ways:
        return smooth
    percent = jnp.round(100 * _each(changes.sharpen))
    sharp = (x + jnp.trunc((x - smooth) * percent / 100)).clip(0, 255)
    return jnp.where(_each(chosen == ways.index("sharpen")), sharp, smooth)


def _gaussian(radius: Array, side: int) -> Array:
    """Return the matrices (b, side, side) of a Gaussian of `radius` (b,) pixels: three boxes of the same deviation.

    Gwosdek et al. 2011, "Theoretical foundations of Gaussian convolution by extended box filtering", as in Pillow.
    """
    variance = radius**2 / BLUR_PASSES
    whole = jnp.floor((jnp.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    reach = (whole + part)[:, None, None]  # half the box's width, its centre left out
    rows, columns = jnp.arange(side)[:, None], jnp.arange(side)[None, :]
    box = (reach + 1 - jnp.abs(rows - columns)).clip(0, 1)  # (b, side, side)
    box = jnp.where(columns == 0, (reach + 1 - rows).clip(0), box)  # an edge represents all pixels beyond it
    box = jnp.where(columns == side - 1, (reach + 1 - (side - 1 - rows)).clip(0), box) / (2 * reach + 1)
    return jnp.einsum("bij,bjk,bkl->bil", box, box, box, precision="highest")


def _coarse(detail: Array, side: int) -> Array:
    """Return the matrices (b, side, side) that shrink to 1 / `detail` (b,), in pixels, and enlarge again."""
    small = jnp.round(side / detail.clip(1)).clip(1)[:, None, None]  # (b, 1, 1)
    many, few = jnp.arange(side) + 0.5, jnp.arange(side) + 0.5
    shrinking = _triangle((many - few[:, None] * side / small) * small / side)  # (b, few, many)
    enlarging = jnp.where(few < small, _triangle(few - many[:, None] * small / side), 0)  # (b, many, few)
    return jnp.einsum("bij,bjk->bik", _shares(enlarging), _shares(shrinking), precision="highest")


def _triangle(distance: Array) -> Array:
    return (1 - jnp.abs(distance)).clip(0)


def _toned(x: Array, changes: Changes) -> Array:
    """See `pictures.tone`."""
    levels = (x / 255) ** _each(changes.gamma)
    mean = levels.mean(axis=(1, 2, 3), keepdims=True)
    levels = mean + _each(changes.contrast) * (levels - mean) + _each(changes.brightness)
    black = _each(changes.black)
    return jnp.round((black + (1 - black) * levels).clip(0, 1) * 255)


def _covered(x: Array, boxes: Array, levels: Array) -> Array:
    """See `pictures.cover`; boxes (b, 4), levels (b,)."""
    _, height, width, _ = x.shape
    left, top, right, bottom = jnp.round(boxes * jnp.array([width, height, width, height])).T[..., None]  # (b, 1) each
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside = ((top <= rows) & (rows < bottom))[:, :, None] & ((left <= columns) & (columns < right))[:, None]
    return jnp.where(inside[..., None], jnp.round(255 * _each(levels)), x)


def _recompressed(x: Array, quality: Array) -> Array:
    """See `pictures.recompress`; x (b, h, w, 1), quality (b,)."""
    _, height, width, _ = x.shape
    missing = [(0, -side % BLOCK) for side in (height, width)]
    whole = jnp.pad(x[..., 0], [(0, 0), *missing], mode="edge") - 128
    down, across = (jnp.asarray(np.kron(np.eye(side // BLOCK), _cosines()), jnp.float32) for side in whole.shape[1:])
    percent = jnp.where(quality < 50, 5000 // quality.clip(1), 200 - 2 * quality)[:, None, None]
    table = ((LUMINANCE * percent + 50) // 100).clip(1, 255)  # (b, 8, 8)
    table = jnp.tile(table, (1, len(down) // BLOCK, len(across) // BLOCK))
    frequencies = jnp.einsum("ij,bjk,lk->bil", down, whole, across, precision="highest") / table
    kept = jnp.sign(frequencies) * jnp.floor(jnp.abs(frequencies) + 0.5 + 1e-4) * table  # halves away from 0
    back = jnp.einsum("ji,bjk,kl->bil", down, kept, across, precision="highest") + 128
    return _pixels(back)[:, :height, :width, None]


def _cosines() -> np.ndarray:
    """Return the matrix (8, 8) of the discrete cosine transform, orthonormal: frequencies by pixels."""
    frequency, place = np.arange(BLOCK)[:, None], np.arange(BLOCK) + 0.5
    matrix: np.ndarray = np.cos(np.pi * frequency * place / BLOCK) * np.sqrt(np.where(frequency == 0, 1, 2) / BLOCK)
    return matrix


def _pixels(values: Array) -> Array:
    return jnp.round(values).clip(0, 255)


def _shares(weights: Array) -> Array:
    return weights / weights.sum(axis=-1, keepdims=True).clip(1e-6)  # rows that nothing reads are empty


def _each(values: Array) -> Array:
    """Return `values` (b,) as (b, 1, 1, 1): one an image."""
    return values[:, None, None, None]
