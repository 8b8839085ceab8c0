"""Weights that were trained on images of one size, for images of another.

Only a kernel over flattened maps depends on the size. Seen as an image of kernels, one a place, it is stretched so that
the larger network scores maps as the smaller one scored their averages over its places.
"""

import math

import keras
import numpy as np

Maps = tuple[int, int, int]  # (h, w, c)


def flattened_maps(model: keras.Model, x: np.ndarray) -> Maps | None:
    """Return the shape of the maps or images `x` (n, ...) that `model` flattens; None where it flattens nothing."""
    if len(model.input_shape) == 2 and x.ndim == 4:
        return (x.shape[1], x.shape[2], x.shape[3])
    shapes = [layer.input.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Flatten)]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    height, width, channels = shapes[0]
    return (height, width, channels)


def fitted(value: np.ndarray, like: np.ndarray, maps: Maps | None, is_weight: bool) -> np.ndarray | None:
    """Return a weight, or something that the optimizer keeps of one, in the shape of `like`; None where it has none."""
    if value.dtype != like.dtype:
        return None
    return value if value.shape == like.shape else stretched(value, like, maps, keeps_sum=is_weight)


def stretched(kernel: np.ndarray, like: np.ndarray, maps: Maps | None, *, keeps_sum: bool) -> np.ndarray | None:
    """Return `kernel` (h * w * c, units) for `maps` (H, W, c) in the shape of `like`; None where that isn't its shape.

    With `keeps_sum` the places share their weight, as those of a kernel must; without it each place keeps the mean, as
    moments of its gradient must, which don't get smaller with more places. Maps are taken to be square.
    """
    if maps is None or kernel.ndim != 2:
        return None
    height, width, channels = maps
    side = math.isqrt(kernel.shape[0] // channels)
    if like.shape != (height * width * channels, kernel.shape[1]) or kernel.shape[0] != side * side * channels:
        return None
    places = kernel.reshape(side, side, channels, -1)
    down, across = _averages(side, height), _averages(side, width)
    found = np.einsum("hH,wW,hwcu->HWcu", down, across, places)
    if not keeps_sum:
        found *= height * width / side**2
    return np.ascontiguousarray(found.reshape(like.shape), dtype=like.dtype)


def _averages(n: int, m: int) -> np.ndarray:
    """Return the matrix (n, m) that averages a line of `m` places over the `n` that cover the same length."""
    old, new = np.arange(n + 1) / n, np.arange(m + 1) / m
    shared = np.minimum(old[1:, None], new[None, 1:]) - np.maximum(old[:-1, None], new[None, :-1])
    return np.asarray(np.maximum(shared, 0.0) * n)
