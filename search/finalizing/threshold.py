"""The threshold of a bundle: certified where the calibration role suffices, and otherwise called what it is."""

from dataclasses import dataclass

import numpy as np

from pneumo_core.bundles.bundle import Bundle, CalibrationCounts, Guarantee
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.scoring import metrics, operating
from pneumo_core.scoring.certify import Certificate, certify_images, certify_patients
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


def settle(
    objective: ObjectiveSpec,
    validation: tuple[np.ndarray, np.ndarray],
    calibration: RoleArrays | None,
    scores: np.ndarray,
    *,
    ceiling: float,
    confidence: float,
    leaks: bool,
) -> Settled:
    """Return the threshold of a model chosen before: its calibration `scores` (n,) have decided nothing yet.

    Both certificates hold at the lower of their thresholds, which is the one used. Where patients don't suffice but
    images do, the promise is by image. Where neither does, or the split `leaks` siblings of training images into
    calibration, the threshold is the plug-in one of `validation` (labels, scores) and promises nothing.
    """
    plug_in = operating.judge(*validation, objective).metrics
    # No calibration role: one negative image stands in for it, since certificates count positives only.
    y = np.zeros(1, np.uint8) if calibration is None else np.asarray(calibration.y)
    groups = np.array([""] if calibration is None else calibration.groups)
    values = np.zeros(1) if calibration is None else scores
    by_image = certify_images(y, values, ceiling=ceiling, confidence=confidence)
    by_patient = certify_patients(y, values, groups, ceiling=ceiling, confidence=confidence)
    guarantee: Guarantee = "patient" if by_patient.certified else "image" if by_image.certified else "none"
    guarantee = "none" if leaks else guarantee
    certified = [c.threshold for c in (by_image, by_patient) if c.threshold is not None]
    threshold = plug_in.threshold if guarantee == "none" else min(certified)
    return Settled(
        threshold=threshold,
        guarantee=guarantee,
        certificates=(by_image, by_patient),
        counts=_counts(calibration),
        validation=plug_in,
        calibration_specificity=metrics.confusion(y, values, threshold).specificity if calibration else None,
    )


def _counts(calibration: RoleArrays | None) -> CalibrationCounts:
    if calibration is None:
        return CalibrationCounts(n_images=0, n_positive_images=0, n_patients=0, n_positive_patients=0)
    y, groups = np.asarray(calibration.y), np.array(calibration.groups)
    return CalibrationCounts(
        n_images=len(y),
        n_positive_images=int(y.sum()),
        n_patients=len(np.unique(groups)),
        n_positive_patients=len(np.unique(groups[y == 1])),
    )


def promise(bundle: Bundle) -> str:
    """Return in a sentence what the threshold of `bundle` promises."""
    if bundle.guarantee == "none":
        why = "the split leaks patients, so that nothing can be promised for new ones; " if _leaks(bundle) else ""
        return f"**Not certified**: {why}this is a plug-in threshold from validation, which promises nothing."
    wording = f"with confidence {bundle.confidence:g} the false-negative rate is at most {bundle.ceiling:g}"
    if bundle.guarantee == "patient":
        return f"**Certified** by image and by patient: {wording}, in each reading."
    return (
        f"**Certified by image only**: {wording} if positive images were independent, which those of one patient are "
        "not. By patient there are too few positives."
    )


def _leaks(bundle: Bundle) -> bool:
    return bool(bundle.fingerprint.get("split", {}).get("protocol") == "per_image_random")
