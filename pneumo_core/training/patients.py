"""Training on a part of the patients: cheaper, hardly worse, and different from trial to trial."""

import math

import numpy as np

from pneumo_core.data.preprocess import FitArrays


def rows(arrays: FitArrays, share: float, seed: int) -> np.ndarray | None:
    """Return the training images (m,) of a `share` of the patients of each class, drawn by `seed`; None for all.

    A smaller share under the same seed is part of a larger one.
    """
    if share >= 1:
        return None
    groups, first, member = np.unique(arrays.groups_train, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    labels = np.asarray(arrays.y_train)[first][order]  # of each patient's first image
    chosen = [order[labels == label][: math.ceil(share * int((labels == label).sum()))] for label in (0, 1)]
    return np.flatnonzero(np.isin(member, np.concatenate(chosen)))
