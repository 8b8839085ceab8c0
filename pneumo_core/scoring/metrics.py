"""Metrics of scored images. Arrays are `y` (n,) of 0/1 and `scores` (n,); positive iff score >= threshold.

Everything that depends on ranks alone comes from one sort (`cuts`), because trials ask for it every epoch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """All ways to cut the distinct scores in two: cut j calls the scores below `distinct[j]` negative.

    Cut 0 calls everyone positive, cut m (the last) no one. `n_missed` and `n_cleared` count the positives and
    the negatives that a cut calls negative; both rise with j.
    """

    distinct: Floats  # (m,) ascending
    n_missed: Ints  # (m + 1,)
    n_cleared: Ints  # (m + 1,)

    @property
    def n_positives(self) -> int:
        return int(self.n_missed[-1])

    @property
    def n_negatives(self) -> int:
        return int(self.n_cleared[-1])

    @property
    def fnr(self) -> Floats:
        """False-negative rate of each cut, (m + 1,); one division of counts, so that 3 of 100 equals 0.03."""
        return self.n_missed / self.n_positives

    @property
    def specificity(self) -> Floats:
        """Specificity of each cut, (m + 1,)."""
        return self.n_cleared / self.n_negatives

    @property
    def auc(self) -> float:
        """Area under the ROC curve, ties counted half; exact until the one division."""
        twice_area = np.diff(self.n_missed) @ (self.n_cleared[1:] + self.n_cleared[:-1])
        return float(twice_area / (2 * self.n_positives * self.n_negatives))

    def pauc(self, fnr_ceiling: float) -> float:
        """Partial area over FNR in [0, `fnr_ceiling`]; see `pauc`."""
        if not 0 < fnr_ceiling <= 1:
            raise ValueError(f"`fnr_ceiling` must be in (0, 1], got {fnr_ceiling!r}")
        fnr, specificity = self.fnr, self.specificity
        stop = int(np.searchsorted(fnr, fnr_ceiling, side="right"))
        x = np.append(fnr[:stop], fnr_ceiling)
        y = np.append(specificity[:stop], np.interp(fnr_ceiling, fnr, specificity))
        by_chance = fnr_ceiling**2 / 2
        return float(0.5 * (1 + (np.trapezoid(y, x) - by_chance) / (fnr_ceiling - by_chance)))

    def threshold(self, cut: int) -> float:
        """Return a threshold that realises `cut`, half-way between its neighbours: float noise won't flip a call.

        The outer cuts have one neighbour and get 0 and 1 where that serves, so that they hold for any score
        in [0, 1).
        """
        if cut == 0:
            return min(0.0, float(self.distinct[0]))
        if cut == len(self.distinct):
            return max(1.0, float(np.nextafter(self.distinct[-1], np.inf)))
        low, high = float(self.distinct[cut - 1]), float(self.distinct[cut])
        middle = low / 2 + high / 2
        return middle if low < middle <= high else high  # neighbours one float apart have no middle


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts at one threshold. A rate without a denominator is None, never a made-up number."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def n(self) -> int:
        return self.true_positive + self.false_negative + self.true_negative + self.false_positive

    @property
    def recall(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def fnr(self) -> float | None:
        return _ratio(self.false_negative, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float | None:
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def ppv(self) -> float | None:
        """Positive predictive value at this sample's prevalence."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def npv(self) -> float | None:
        """Negative predictive value at this sample's prevalence."""
        return _ratio(self.true_negative, self.true_negative + self.false_negative)

    @property
    def accuracy(self) -> float | None:
        return _ratio(self.true_positive + self.true_negative, self.n)


def cuts(y: npt.ArrayLike, scores: npt.ArrayLike) -> Cuts:
    """Count misses and cleared negatives for every cut between distinct scores.

    Raises `ValueError` for NaN or infinite scores, labels other than 0 and 1, unequal lengths, or one class only.
    """
    labels, values = check_both_classes(y, scores)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(ordered[1:] > ordered[:-1]) + 1
    bounds = np.concatenate(([0], starts, [len(ordered)]))  # (m + 1,)
    n_missed = np.concatenate(([0], np.cumsum(labels[order], dtype=np.int64)))[bounds]
    return Cuts(distinct=ordered[bounds[:-1]], n_missed=n_missed, n_cleared=bounds - n_missed)


def auc(y: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: P(positive's score > negative's) + half the ties (Hanley & McNeil 1982)."""
    return cuts(y, scores).auc


def pauc(y: npt.ArrayLike, scores: npt.ArrayLike, fnr_ceiling: float) -> float:
    """Return the partial AUC over FNR in [0, `fnr_ceiling`], standardised: 0.5 by chance, 1 when perfect.

    It is the mean specificity where few positives are missed, rescaled by McClish (1989, "Analyzing a portion
    of the ROC curve"); the same as scikit-learn's `roc_auc_score(1 - y, -scores, max_fpr=fnr_ceiling)`.
    """
    return cuts(y, scores).pauc(fnr_ceiling)


def confusion(y: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Confusion:
    """Count calls against labels at `threshold`. One class alone is allowed."""
    labels, values = check_scores(y, scores)
    called = values >= threshold
    return Confusion(
        true_positive=int(np.sum(labels & called)),
        false_negative=int(np.sum(labels & ~called)),
        true_negative=int(np.sum(~labels & ~called)),
        false_positive=int(np.sum(~labels & called)),
    )


def brier(y: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the mean squared difference between probability and outcome (Brier 1950): 0 is best, 1 worst."""
    labels, values = check_probabilities(y, scores)
    return float(np.mean((values - labels) ** 2))


def expected_calibration_error(y: npt.ArrayLike, scores: npt.ArrayLike, n_bins: int = 15) -> float:
    """Return the mean gap between score and frequency over equal-mass bins, weighted by their size.

    Guo et al. (2017, section 2) with the equal-mass bins of Nixon et al. (2019, "Measuring calibration in deep
    learning"): trained scores crowd at 0 and 1, where bins of equal width would hold nearly everyone.
    """
    labels, values = check_probabilities(y, scores)
    gaps = np.bincount(equal_mass_bins(values, n_bins), weights=values - labels, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(values))


def equal_mass_bins(scores: Floats, n_bins: int) -> Ints:
    """Return a bin in [0, `n_bins`) for each score, (n,); equal scores share a bin, so some may stay empty."""
    if n_bins < 1:
        raise ValueError(f"`n_bins` must be at least 1, got {n_bins!r}")
    n_below = np.searchsorted(np.sort(scores), scores, side="left")
    return n_below * n_bins // len(scores)


def check_scores(y: npt.ArrayLike, scores: npt.ArrayLike, *, at_least: int = 1) -> tuple[Bools, Floats]:
    """Return labels (n,) as bool and scores (n,) as float64, or raise `ValueError` saying what is wrong."""
    labels, values = np.asarray(y), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape or len(labels) < at_least:
        raise ValueError(
            f"`y` and `scores` must both have shape (n,), n ≥ {at_least}, got {labels.shape} and {values.shape}"
        )
    if not np.isfinite(values).all():
        n_bad = int(np.sum(~np.isfinite(values)))
        raise ValueError(f"`scores` must be finite, got {n_bad} NaN or infinite of {len(values)}")
    if labels.dtype != np.bool_ and not np.isin(labels, (0, 1)).all():
        raise ValueError(f"`y` must hold only 0 and 1, got {np.unique(labels)[:5].tolist()}")
    return labels.astype(np.bool_), values


def check_both_classes(y: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bools, Floats]:
    """Check as `check_scores`, and that both classes are there."""
    labels, values = check_scores(y, scores)
    n_positives = int(labels.sum())
    if n_positives in (0, len(labels)):
        raise ValueError(
            f"`y` must hold both classes, got {n_positives} positives and {len(labels) - n_positives} negatives"
        )
    return labels, values


def check_probabilities(y: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bools, Floats]:
    """Check as `check_scores`, and that the scores lie in [0, 1]."""
    labels, values = check_scores(y, scores)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"`scores` must be in [0, 1], got [{values.min():g}, {values.max():g}]")
    return labels, values


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
