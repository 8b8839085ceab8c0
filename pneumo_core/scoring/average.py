"""The score of several networks together."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring.metrics import Floats

LEAST = 1e-7  # scores this near to 0 or 1 count as if they were there: float32 rounds to 0 and 1 about there


def average(scores: Sequence[npt.ArrayLike]) -> Floats:
    """Return the score of each image, (n,): the sigmoid of the mean logit of its `scores`, (n,) from each network.

    A network that is sure counts for more than one that wavers, as in a product of experts (Hinton 2002); the mean of
    probabilities would let one saturated network outvote four. One network's scores stay as they are.
    """
    if len(scores) == 1:
        return np.asarray(scores[0], np.float64)
    p = np.clip(np.asarray(scores, np.float64), LEAST, 1 - LEAST)  # (networks, n)
    return np.asarray(1 / (1 + np.exp(-np.mean(np.log(p) - np.log1p(-p), axis=0))))
