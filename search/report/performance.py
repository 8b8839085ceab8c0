"""What one trial does on validation, every figure with its interval."""

import math

import numpy as np

from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.metrics import Bools, Confusion, Floats
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import ObjectiveSpec
from search.report.data import Estimate, Performance, Validation

CONFIDENCE = 0.95
JOINT = math.sqrt(CONFIDENCE)  # of each of two independent intervals that hold together with 95 % confidence
BOOTSTRAP_SEED = 0


def measure(
    validation: Validation, scores: Floats, stored: Metrics, objective: ObjectiveSpec, n_resamples: int
) -> Performance:
    """Return the performance of `scores` (n,) at the stored threshold."""
    y, threshold = validation.y, stored.threshold
    confusion = metrics.confusion(y, scores, threshold)
    areas = intervals.patient_bootstrap(
        y,
        scores,
        validation.groups,
        {"auc": metrics.auc, "pauc": lambda labels, s: metrics.pauc(labels, s, objective.fnr_ceiling)},
        seed=BOOTSTRAP_SEED,
        n_resamples=n_resamples,
    )
    return Performance(
        scores=scores,
        threshold=threshold,
        confusion=confusion,
        estimates=_proportions(confusion),
        auc=Estimate(value=metrics.auc(y, scores), interval=areas["auc"]),
        pauc=Estimate(value=metrics.pauc(y, scores, objective.fnr_ceiling), interval=areas["pauc"]),
        brier=metrics.brier(y, scores),
        calibration_error=metrics.expected_calibration_error(y, scores),
        fnr_upper=intervals.upper_bound(confusion.false_negative, int(y.sum()), CONFIDENCE),
        region=_region(confusion),
        recall_by_kind=_recall_by_kind(validation, scores, threshold),
        patients_missed=_patients_missed(validation, scores, threshold),
        agrees=confusion.recall == stored.recall and confusion.specificity == stored.specificity,
    )


def proportion(hits: int, n: int) -> Estimate:
    """Return `hits` of `n` with Wilson's interval."""
    return Estimate(value=hits / n, interval=intervals.wilson(hits, n, CONFIDENCE), hits=hits, n=n)


def _proportions(c: Confusion) -> dict[str, Estimate]:
    n_positive, n_negative = c.true_positive + c.false_negative, c.true_negative + c.false_positive
    counts = {
        "recall": (c.true_positive, n_positive),
        "fnr": (c.false_negative, n_positive),
        "specificity": (c.true_negative, n_negative),
        "ppv": (c.true_positive, c.true_positive + c.false_positive),
        "npv": (c.true_negative, c.true_negative + c.false_negative),
        "accuracy": (c.true_positive + c.true_negative, c.n),
    }
    return {name: proportion(hits, n) for name, (hits, n) in counts.items() if n}


def _region(c: Confusion) -> tuple[intervals.Interval, intervals.Interval]:
    recall = intervals.clopper_pearson(c.true_positive, c.true_positive + c.false_negative, JOINT)
    specificity = intervals.clopper_pearson(c.true_negative, c.true_negative + c.false_positive, JOINT)
    return recall, specificity


def _recall_by_kind(validation: Validation, scores: Floats, threshold: float) -> dict[str, Estimate]:
    found: Bools = scores >= threshold
    kinds = np.asarray(validation.kinds)
    names = sorted(set(kinds[validation.y].tolist()))
    mine = {name: found[validation.y & (kinds == name)] for name in names}
    return {name: proportion(int(hits.sum()), len(hits)) for name, hits in mine.items()} if len(names) > 1 else {}


def _patients_missed(validation: Validation, scores: Floats, threshold: float) -> Estimate:
    ill: Bools = validation.y
    groups = np.asarray(validation.groups)
    missed = set(groups[ill & (scores < threshold)])
    return proportion(len(missed), len(set(groups[ill])))
