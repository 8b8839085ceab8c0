"""Tiny generated images for the model and training tests: a square, brighter in the positives."""

import numpy as np

from pneumo_core.data.preprocess import FitArrays


def arrays(n_train: int = 70, n_validation: int = 30, side_px: int = 12, channels: int = 1, seed: int = 0) -> FitArrays:
    """Return images (n, side, side, channels) that a small network learns to tell apart in a few epochs."""
    x_train, y_train = _images(n_train, side_px, channels, seed)
    x_validation, y_validation = _images(n_validation, side_px, channels, seed + 1)
    return FitArrays(
        x_train=x_train,
        y_train=y_train,
        groups_train=np.arange(n_train).astype(str),
        x_validation=x_validation,
        y_validation=y_validation,
        groups_validation=np.arange(n_validation).astype(str),
    )


def _images(n: int, side_px: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 3 > 0).astype(np.uint8)  # two thirds positive
    x = rng.integers(0, 120, (n, side_px, side_px, channels), dtype=np.uint8)
    x[y == 1, side_px // 4 : -side_px // 4, side_px // 4 : -side_px // 4] += 60
    return x, y
