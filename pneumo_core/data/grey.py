"""Deep pixels to 8-bit grey by a table: one entry a level, so that memory and time hardly depend on the depth.

No rule lets a few pixels set the scale: hot pixels and burnt-in marks are common, and one at 65535 would squeeze a
12-bit picture into a sixteenth of the grey scale.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core.errors import DataError

Floats = NDArray[np.float64]

OUTLIERS = 0.001  # share of the pixels at either end that may lie beyond the range
_LEVELS = 2**16
_ROWS_AT_ONCE = 256  # NumPy counts in 64-bit integers: eight times the memory of the image, if it had it whole


@dataclass(frozen=True, kw_only=True)
class Levels:
    """An image as levels: pixel (row, column) has the value `values[which[row, column]]`."""

    values: Floats  # (n,) ascending, n at most 65,536
    which: NDArray[np.uint16]  # (h, w)
    counts: NDArray[np.int64]  # (n,) pixels of each level

    def shown(self, grey: Floats) -> NDArray[np.uint8]:
        """Return the image (h, w) with the grey (n,), 0 to 255, of each level."""
        return np.rint(np.clip(grey, 0, 255)).astype(np.uint8)[self.which]


def levels(stored: NDArray[Any]) -> Levels:
    """Return the levels of an image (h, w) of numbers; more than 65,536 different ones are rounded to so many.

    Raises `DataError` for numbers that aren't finite.
    """
    low, high = stored.min(), stored.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError("holds pixels that are not finite numbers; export it as 16-bit greyscale")
    span = float(high) - float(low)
    if stored.dtype.kind in "iub" and span < _LEVELS:
        which = np.subtract(stored, low, dtype=np.int32 if stored.dtype.itemsize < 4 else np.int64).astype(np.uint16)
        values = np.arange(int(span) + 1, dtype=np.float64) + float(low)
    else:
        step = span / (_LEVELS - 1) or 1.0
        which = np.rint((stored - np.float64(low)) / step).astype(np.uint16)
        values = np.arange(_LEVELS, dtype=np.float64) * step + float(low)
    return Levels(values=values, which=which, counts=_counts(which, len(values)))


def spread(values: Floats, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the range of the `values` (n,) of an image without the outliers at either end."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    spare = int(below[-1] * OUTLIERS)
    first = int(np.searchsorted(below, spare, side="right"))
    last = int(np.searchsorted(below, below[-1] - spare, side="left"))
    return float(values[order[first]]), float(values[order[last]])


def by_bits(image: Levels) -> NDArray[np.uint8]:
    """Return an image without any word about its range, scaled by the number of bits it uses.

    A 16-bit file often holds 10 or 12-bit data: the scale is the smallest whole number of bits, at least 8, that holds
    all values but outliers. Negative values and fractions have no bits; these images are scaled by their range.
    """
    low, high = spread(image.values, image.counts)
    if low < 0 or np.any(image.values != np.rint(image.values)):
        return image.shown((image.values - low) * (255.0 / (high - low or 1.0)))
    return image.shown(image.values * (255.0 / top(high)))


def top(value: float) -> int:
    """Return the largest number of as many bits as `value` has, at least 255."""
    return int(2 ** max(8, int(value).bit_length()) - 1)


def _counts(which: NDArray[np.uint16], n: int) -> NDArray[np.int64]:
    found = np.zeros(n, np.int64)
    for start in range(0, len(which), _ROWS_AT_ONCE):
        found += np.bincount(which[start : start + _ROWS_AT_ONCE].ravel(), minlength=n)
    return found
