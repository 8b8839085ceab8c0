"""Recall and specificity at a fixed threshold on images as they are and under each of several changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring import intervals, metrics

UNCHANGED = ""


@dataclass(frozen=True, kw_only=True)
class ShiftFigures:
    """What a threshold does under one shift, with intervals that allow for several images of one patient."""

    shift: str  # name; "" is the images as they are
    n_positive: int
    recall: float
    recall_ci: tuple[float, ...]
    n_negative: int
    specificity: float
    specificity_ci: tuple[float, ...]


def figures(
    shift: str,
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    threshold: float,
    confidence: float = 0.95,
) -> ShiftFigures:
    """Return the figures of `scores` (n,) against `y` (n,); `groups` (n,) names the patient of each image."""
    labels, values = metrics.check_both_classes(y, scores)
    names, called = np.asarray(groups), values >= threshold
    recall = intervals.clustered(called[labels], names[labels], confidence)
    specificity = intervals.clustered(~called[~labels], names[~labels], confidence)
    return ShiftFigures(
        shift=shift,
        n_positive=int(labels.sum()),
        recall=float(called[labels].mean()),
        recall_ci=(recall.low, recall.high),
        n_negative=int((~labels).sum()),
        specificity=float((~called[~labels]).mean()),
        specificity_ci=(specificity.low, specificity.high),
    )


def worst(found: Sequence[ShiftFigures]) -> tuple[str, str]:
    """Return the names of the shifts with the least recall and with the least specificity."""
    return min(found, key=lambda f: f.recall).shift, min(found, key=lambda f: f.specificity).shift


def spoken(shift: str) -> str:
    """Return a shift's name as people read it."""
    return shift.replace("_", " ") or "as they are"
