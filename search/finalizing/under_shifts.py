"""A certified threshold on changed images: scores of calibration and test under named shifts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pneumo_core import shifts
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.data.split import Role
from pneumo_core.scoring.shifted import UNCHANGED, ShiftFigures, figures
from pneumo_core.specs import ObjectiveSpec

N_POSITIVE, N_NEGATIVE = 120, 80  # test images that are scored under each shift: at most so many of each class
_SEED = 0

Scores = Callable[[Role, Sequence[str], Sequence[int]], np.ndarray]
"""Called as `scores(role, names, rows)`: the bundle's scores (shifts, m) of those rows under each shift."""


def stated(objective: ObjectiveSpec) -> tuple[str, ...]:
    """Return the shifts to certify for: those that the study judges by, or all."""
    return objective.shifts or shifts.ALL


def of_calibration(
    calibration: RoleArrays, unchanged: np.ndarray, names: Sequence[str], scores: Scores
) -> Mapping[str, np.ndarray]:
    """Return calibration scores (n,) as they are, under "", and under each of `names`.

    Certificates count positives only: only they are scored under shifts, and the negatives keep their score.
    """
    positive = np.flatnonzero(np.asarray(calibration.y) == 1)
    found = {UNCHANGED: unchanged}
    for name, of_positive in zip(names, scores("calibration", names, positive.tolist()) if names else (), strict=True):
        found[name] = unchanged.copy()
        found[name][positive] = of_positive
    return found


def of_test(test: RoleArrays, threshold: float, confidence: float, scores: Scores) -> tuple[ShiftFigures, ...]:
    """Return what the threshold does on a sample of the test role, as it is and under every shift there is."""
    rows = _sample(np.asarray(test.y))
    y, groups = np.asarray(test.y)[rows], np.array(test.groups)[rows]
    names = (UNCHANGED, *shifts.ALL)
    return tuple(
        figures(name, y, of_shift, groups, threshold=threshold, confidence=confidence)
        for name, of_shift in zip(names, scores("test", names, rows.tolist()), strict=True)
    )


def _sample(y: np.ndarray) -> np.ndarray:
    """Return the rows that are scored, ascending; drawn once."""
    generator = np.random.default_rng(_SEED)
    drawn = [
        generator.permutation(np.flatnonzero(y == label))[:most] for label, most in ((0, N_NEGATIVE), (1, N_POSITIVE))
    ]
    return np.sort(np.concatenate(drawn))
