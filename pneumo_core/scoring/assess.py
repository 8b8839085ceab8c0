"""What scores are worth at a threshold that they didn't choose: every figure with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.intervals import Metric
from pneumo_core.scoring.metrics import Bools, Confusion, Floats

Pair = tuple[float, ...]  # low, high

N_RESAMPLES = 2000  # of patients
SEED = 0


@dataclass(frozen=True, kw_only=True)
class KindRecall:
    """Recall among the positive images of one kind (bacteria, virus), with its Wilson interval."""

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

    `auc`, `pauc`, `brier` and `ece` have patient-bootstrap intervals, proportions Wilson's; `fnr_upper` is the
    one-sided Clopper–Pearson bound. `exact` has the two-sided Clopper–Pearson intervals of the proportions and
    `bootstrap` their patient-bootstrap ones, which alone allow for several images of one patient.
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
    ece_ci: Pair
    n_patients: int
    n_positive_patients: int
    ceiling: float  # of the partial AUC
    confidence: float
    confusion: Confusion
    recall_by_kind: Mapping[str, KindRecall]
    by_patient: PatientRecall
    exact: Mapping[str, Pair]
    bootstrap: Mapping[str, Pair]


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
    tallies = {name: tally for name, tally in _tallies(counts).items() if tally[1]}
    resampled = intervals.patient_bootstrap(
        labels, values, names, _measures(threshold, ceiling, tallies), seed=SEED, n_resamples=n_resamples,
        confidence=confidence,
    )  # fmt: skip
    boot = {name: (interval.low, interval.high) for name, interval in resampled.items()}
    wilson = {name: _pair(intervals.wilson(*tally, confidence)) for name, tally in tallies.items()}
    rate = {name: hits / n for name, (hits, n) in tallies.items()}
    n_positive = int(labels.sum())
    return Assessment(
        n=len(labels),
        n_positive=n_positive,
        auc=metrics.auc(labels, values),
        auc_ci=boot["auc"],
        accuracy=rate["accuracy"],
        threshold=threshold,
        recall=rate["recall"],
        recall_ci=wilson["recall"],
        fnr=counts.false_negative / n_positive,
        fnr_upper=intervals.upper_bound(counts.false_negative, n_positive, confidence),
        specificity=rate["specificity"],
        specificity_ci=wilson["specificity"],
        ppv=rate.get("ppv"),
        ppv_ci=wilson.get("ppv"),
        npv=rate.get("npv"),
        npv_ci=wilson.get("npv"),
        accuracy_ci=wilson["accuracy"],
        pauc=metrics.pauc(labels, values, ceiling),
        pauc_ci=boot["pauc"],
        brier=metrics.brier(labels, values),
        brier_ci=boot["brier"],
        ece=metrics.expected_calibration_error(labels, values),
        ece_ci=boot["ece"],
        n_patients=len(np.unique(names)),
        n_positive_patients=len(np.unique(names[labels])),
        ceiling=ceiling,
        confidence=confidence,
        confusion=counts,
        recall_by_kind=_by_kind(labels, values, np.asarray(kinds), threshold, confidence),
        by_patient=_by_patient(labels, values, names, threshold, confidence),
        exact={name: _pair(intervals.clopper_pearson(*tally, confidence)) for name, tally in tallies.items()},
        bootstrap={name: boot[name] for name in tallies},
    )


def _tallies(counts: Confusion) -> dict[str, tuple[int, int]]:
    """Return hits and tries of each proportion."""
    tp, fn, tn, fp = counts.true_positive, counts.false_negative, counts.true_negative, counts.false_positive
    return {
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "accuracy": (tp + tn, counts.n),
    }


def _measures(threshold: float, ceiling: float, proportions: Mapping[str, object]) -> dict[str, Metric]:
    def proportion(name: str) -> Metric:
        def rate(labels: Bools, values: Floats) -> float | None:
            hits, n = _tallies(metrics.confusion(labels, values, threshold))[name]
            return hits / n if n else None

        return rate

    return {
        "auc": metrics.auc,
        "pauc": lambda labels, values: metrics.pauc(labels, values, ceiling),
        "brier": metrics.brier,
        "ece": metrics.expected_calibration_error,
        **{name: proportion(name) for name in proportions},
    }


def _by_kind(
    labels: Bools, values: Floats, kinds: npt.NDArray[np.str_], threshold: float, confidence: float
) -> dict[str, KindRecall]:
    """Return the recall of each kind of positive images; nothing where file names tell of one kind only."""
    found = np.unique(kinds[labels]).tolist()
    if len(found) < 2:
        return {}
    called = {kind: values[labels & (kinds == kind)] >= threshold for kind in found}
    return {
        kind: KindRecall(
            n=len(hits),
            recall=float(hits.mean()),
            recall_ci=_pair(intervals.wilson(int(hits.sum()), len(hits), confidence)),
        )
        for kind, hits in called.items()
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
        fnr_upper=intervals.upper_bound(n_missed, n, confidence),
        fnr_ci=_pair(intervals.clopper_pearson(n_missed, n, confidence)),
    )


def _pair(interval: intervals.Interval) -> Pair:
    return interval.low, interval.high
