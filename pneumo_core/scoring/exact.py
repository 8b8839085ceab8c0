"""Exact intervals for proportions: they cover at least as often as they say."""

from scipy import special

from pneumo_core.scoring.intervals import Interval, check_counts


def clopper_pearson(n_hits: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact binomial interval (Clopper & Pearson 1934): covers at least as often as it says, often more."""
    check_counts(n_hits, n, confidence)
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(n_hits, n - n_hits + 1, tail)) if n_hits else 0.0
    return Interval(low=low, high=upper_bound(n_hits, n, 1 - tail), confidence=confidence)


def upper_bound(n_hits: int, n: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a proportion (Clopper & Pearson 1934).

    It is the p at which seeing `n_hits` of `n` or fewer has probability 1 − `confidence`.
    """
    check_counts(n_hits, n, confidence)
    return float(special.betaincinv(n_hits + 1, n - n_hits, confidence)) if n_hits < n else 1.0
