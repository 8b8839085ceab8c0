"""Curves for pictures, as arrays: ROC, calibration, decision."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.metrics import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Points from (0, 0), no one called positive, to (1, 1), everyone; positive iff score >= threshold."""

    false_positive_rate: Floats  # (m + 1,) rising
    recall: Floats  # (m + 1,) rising
    thresholds: Floats  # (m + 1,) falling


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """Mean score against observed share of positives per bin, with the share's 95 % interval."""

    mean_score: Floats  # (b,) rising
    share_positive: Floats  # (b,)
    low: Floats  # (b,)
    high: Floats  # (b,)
    n: Ints  # (b,) images in each bin, never 0


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit per image when acting at each threshold probability; acting on no one has net benefit 0."""

    probability: Floats  # (t,) rising, in (0, 1)
    model: Floats  # (t,)
    act_on_all: Floats  # (t,)


def roc(y: npt.ArrayLike, scores: npt.ArrayLike) -> RocCurve:
    """Return every point of the ROC curve; the area under the lines between them is the AUC."""
    cuts = metrics.cuts(y, scores)
    thresholds = [cuts.threshold(cut) for cut in range(len(cuts.distinct) + 1)]
    return RocCurve(
        false_positive_rate=(1 - cuts.specificity)[::-1],
        recall=(1 - cuts.fnr)[::-1],
        thresholds=np.array(thresholds)[::-1],
    )


def calibration(y: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, n_bins: int = 10) -> CalibrationCurve:
    """Return the reliability curve over at most `n_bins` bins of equal mass (`metrics.equal_mass_bins`).

    `groups` (n,) names the patient of each image: several of one patient say less (`intervals.clustered`).
    """
    labels, values = metrics.check_probabilities(y, scores)
    _, bins = np.unique(metrics.equal_mass_bins(values, n_bins), return_inverse=True)
    n = np.bincount(bins)  # (b,)
    n_positives = np.bincount(bins, weights=labels)
    patients = np.asarray(groups)
    bands = [intervals.clustered(labels[bins == one], patients[bins == one]) for one in range(len(n))]
    return CalibrationCurve(
        mean_score=np.bincount(bins, weights=values) / n,
        share_positive=n_positives / n,
        low=np.array([band.low for band in bands]),
        high=np.array([band.high for band in bands]),
        n=n,
    )


def decision(y: npt.ArrayLike, scores: npt.ArrayLike, probabilities: npt.ArrayLike | None = None) -> DecisionCurve:
    """Return the net benefit TP/n − FP/n · p/(1 − p) at each threshold probability p (Vickers & Elkin 2006).

    Scores are read as probabilities: an image that scores at least p is acted on. `probabilities` (t,) in (0, 1) are by
    default 0.01, 0.02, …, 0.99. The prevalence is the sample's, which need not be a clinic's.
    """
    labels, values = metrics.check_probabilities(y, scores)
    cuts = metrics.cuts(labels, values)
    p = np.linspace(0.01, 0.99, 99) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 1 or not ((p > 0) & (p < 1)).all():
        raise ValueError(f"`probabilities` must have shape (t,) and lie in (0, 1), got {probabilities!r}")
    cut = np.searchsorted(cuts.distinct, p, side="left")  # (t,) distinct scores below p
    odds, n = p / (1 - p), len(labels)
    n_true, n_false = cuts.n_positives - cuts.n_missed[cut], cuts.n_negatives - cuts.n_cleared[cut]
    return DecisionCurve(
        probability=p,
        model=(n_true - odds * n_false) / n,
        act_on_all=(cuts.n_positives - odds * cuts.n_negatives) / n,
    )
