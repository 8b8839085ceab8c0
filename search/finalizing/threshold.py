"""The threshold of a bundle: certified where the calibration role suffices, otherwise marked as uncertified."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pneumo_core.bundles.bundle import CalibrationCounts, calibration_counts
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.scoring import metrics, operating
from pneumo_core.scoring.certify import Certificate, Guarantee, certify_worst
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import ObjectiveSpec


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A threshold, what is promised at it, and the figures behind."""

    threshold: float
    guarantee: Guarantee
    certificates: tuple[Certificate, ...]  # by image, by patient
    counts: CalibrationCounts
    validation: Metrics  # at the plug-in threshold
    calibration_specificity: float | None  # at the threshold
    shifts: tuple[str, ...] = ()  # that the promise holds under, too


def settle(
    objective: ObjectiveSpec,
    validation: tuple[np.ndarray, np.ndarray],
    calibration: RoleArrays | None,
    scores: Mapping[str, np.ndarray],
    *,
    ceiling: float,
    confidence: float,
    leaks: bool,
    patients_known: bool,
) -> Settled:
    """Return the threshold of a model chosen before: its calibration `scores` (n,) have decided nothing yet.

    `scores` has those of the images as they are under "", and of the images under each shift to certify for. Both
    certificates hold at the lower of their thresholds, which is the one used. Where patients don't suffice or aren't
    known but images do, the promise is by image. Where neither does, or the split `leaks` siblings of training images
    into calibration, the threshold is the plug-in one of `validation` (labels, scores), without a guarantee.
    """
    plug_in = operating.judge(*validation, objective).metrics
    y = np.asarray(() if calibration is None else calibration.y, np.uint8)
    groups = np.array(() if calibration is None else calibration.groups, np.str_)
    values = {"": np.zeros(0)} if calibration is None else scores
    _, found = certify_worst(y, values, groups, patients_known=patients_known, ceiling=ceiling, confidence=confidence)
    threshold = plug_in.threshold if found.threshold is None or leaks else found.threshold
    return Settled(
        threshold=threshold,
        guarantee="none" if leaks else found.guarantee,
        certificates=found.certificates,
        counts=calibration_counts(y, groups),
        shifts=() if found.threshold is None or leaks else tuple(name for name in values if name),
        validation=plug_in,
        calibration_specificity=metrics.confusion(y, values[""], threshold).specificity if calibration else None,
    )
