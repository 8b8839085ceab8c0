"""The figures of scores at a threshold that they didn't set, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring import exact, intervals, metrics
from pneumo_core.scoring.intervals import Metric
from pneumo_core.scoring.metrics import Bools, Confusion, Floats

Pair = tuple[float, ...]  # low, high

N_RESAMPLES = 2000  # of patients
SEED = 0


@dataclass(frozen=True, kw_only=True)
class KindRecall:
    """Recall among the positive images of one kind (bacteria, virus), with its clustered interval."""

    n: int
    recall: float
    recall_ci: Pair


@dataclass(frozen=True, kw_only=True)
class PatientRecall:
    """A positive patient is missed when any of their positive images is; Clopper–Pearson bounds over patients."""

    n: int
    n_missed: int
    fnr: float
    fnr_upper: float  # one-sided
    fnr_ci: Pair


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Figures of one labelled set. A rate without a denominator is None.

    Intervals allow for several images of one patient: those of `auc`, `pauc` and `brier` are a patient bootstrap's,
    those of proportions Wilson's for clustered images. `exact` has the two-sided Clopper–Pearson intervals of the
    proportions and `fnr_upper` the one-sided bound, which take images as independent. No interval of `ece` covers;
    `ece_if_calibrated` is the range in which calibrated scores would have it.
    """

    n: int
    n_positive: int
    auc: float
    auc_ci: Pair
    accuracy: float
    threshold: float
    recall: float
    recall_ci: Pair
    fnr: float
    fnr_upper: float
    specificity: float
    specificity_ci: Pair
    ppv: float | None
    ppv_ci: Pair | None
    npv: float | None
    npv_ci: Pair | None
    accuracy_ci: Pair
    pauc: float
    pauc_ci: Pair
    brier: float
    brier_ci: Pair
    ece: float
    ece_if_calibrated: Pair
    n_patients: int
    n_positive_patients: int
    ceiling: float  # of the partial AUC
    confidence: float
    confusion: Confusion
    recall_by_kind: Mapping[str, KindRecall]
    by_patient: PatientRecall
    exact: Mapping[str, Pair]


def assess(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    kinds: npt.ArrayLike,
    *,
    threshold: float,
    ceiling: float,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> Assessment:
    """Return the figures of `scores` (n,) in [0, 1] against `y` (n,); `groups` and `kinds` (n,) name patient and kind.

    Raises `ValueError` for a single class.
    """
    labels, values = metrics.check_both_classes(y, scores)
    names = np.asarray(groups)
    counts = metrics.confusion(labels, values, threshold)
    hits = {name: right for name, right in _hits(labels, values >= threshold).items() if right[0].any()}
    boot = intervals.patient_bootstrap(
        labels, values, names, _measures(ceiling), seed=SEED, n_resamples=n_resamples, confidence=confidence
    )
    rate = {name: float(right[of].mean()) for name, (of, right) in hits.items()}
    band = {name: _pair(intervals.clustered(right[of], names[of], confidence)) for name, (of, right) in hits.items()}
    n_positive = int(labels.sum())
    return Assessment(
        n=len(labels),
        n_positive=n_positive,
        auc=metrics.auc(labels, values),
        auc_ci=_pair(boot["auc"]),
        accuracy=rate["accuracy"],
        threshold=threshold,
        recall=rate["recall"],
        recall_ci=band["recall"],
        fnr=counts.false_negative / n_positive,
        fnr_upper=exact.upper_bound(counts.false_negative, n_positive, confidence),
        specificity=rate["specificity"],
        specificity_ci=band["specificity"],
        ppv=rate.get("ppv"),
        ppv_ci=band.get("ppv"),
        npv=rate.get("npv"),
        npv_ci=band.get("npv"),
        accuracy_ci=band["accuracy"],
        pauc=metrics.pauc(labels, values, ceiling),
        pauc_ci=_pair(boot["pauc"]),
        brier=metrics.brier(labels, values),
        brier_ci=_pair(boot["brier"]),
        ece=metrics.expected_calibration_error(labels, values),
        ece_if_calibrated=_pair(intervals.calibrated_error(values, names, seed=SEED, confidence=confidence)),
        n_patients=len(np.unique(names)),
        n_positive_patients=len(np.unique(names[labels])),
        ceiling=ceiling,
        confidence=confidence,
        confusion=counts,
        recall_by_kind=_by_kind(labels, values >= threshold, names, np.asarray(kinds), confidence),
        by_patient=_by_patient(labels, values, names, threshold, confidence),
        exact={
            name: _pair(exact.clopper_pearson(int(right[of].sum()), int(of.sum()), confidence))
            for name, (of, right) in hits.items()
        },
    )


def _hits(labels: Bools, called: Bools) -> dict[str, tuple[Bools, Bools]]:
    """Return of each proportion which images it is of, and which images are called rightly, (n,) each."""
    right = called == labels
    everyone = np.ones(len(labels), bool)
    of = {"recall": labels, "specificity": ~labels, "ppv": called, "npv": ~called, "accuracy": everyone}
    return {name: (images, right) for name, images in of.items()}


def _measures(ceiling: float) -> dict[str, Metric]:
    return {
        "auc": metrics.auc,
        "pauc": lambda labels, values: metrics.pauc(labels, values, ceiling),
        "brier": metrics.brier,
    }


def _by_kind(
    labels: Bools, called: Bools, names: npt.NDArray[np.generic], kinds: npt.NDArray[np.str_], confidence: float
) -> dict[str, KindRecall]:
    """Return the recall of each kind of positive images; nothing where file names show one kind only."""
    found = np.unique(kinds[labels]).tolist()
    if len(found) < 2:
        return {}
    of = {kind: labels & (kinds == kind) for kind in found}
    return {
        kind: KindRecall(
            n=int(rows.sum()),
            recall=float(called[rows].mean()),
            recall_ci=_pair(intervals.clustered(called[rows], names[rows], confidence)),
        )
        for kind, rows in of.items()
    }


def _by_patient(
    labels: Bools, values: Floats, groups: npt.NDArray[np.generic], threshold: float, confidence: float
) -> PatientRecall:
    n = len(np.unique(groups[labels]))
    n_missed = len(np.unique(groups[labels & (values < threshold)]))
    return PatientRecall(
        n=n,
        n_missed=n_missed,
        fnr=n_missed / n,
        fnr_upper=exact.upper_bound(n_missed, n, confidence),
        fnr_ci=_pair(exact.clopper_pearson(n_missed, n, confidence)),
    )


def _pair(interval: intervals.Interval) -> Pair:
    return interval.low, interval.high
