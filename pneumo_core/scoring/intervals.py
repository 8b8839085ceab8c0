"""Confidence intervals: score intervals for proportions, a patient bootstrap for areas and errors.

Exact intervals are in `pneumo_core.scoring.exact`: they need SciPy, which takes longer to import than many a command.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring.metrics import (
    Bools,
    Floats,
    Ints,
    check_probabilities,
    check_scores,
    expected_calibration_error,
)

PRIOR_CLUSTERS = 4  # see `clustered`

Metric = Callable[[Bools, Floats], float | None]  # of (y, scores), each (n,); None where it isn't defined


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided confidence interval."""

    low: float
    high: float
    confidence: float


def wilson(n_hits: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of Wilson (1927): covers on average as often as it says, and is shorter."""
    check_counts(n_hits, n, confidence)
    return _wilson(n_hits / n, n, confidence)


def _wilson(share: float, n: float, confidence: float) -> Interval:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if share == 0 else float(middle - half)  # exact at the ends, where rounding would leave 1e-17
    high = 1.0 if share == 1 else float(middle + half)
    return Interval(low=low, high=high, confidence=confidence)


def clustered(hits: npt.ArrayLike, groups: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of the share of `hits` (n,) for images that may share patients.

    `groups` (n,) names the patient. The number of images counts as n divided by the design effect (Kish 1965; Korn &
    Graubard 1998), which the patients' hits tell: their variance over that of independent images. Few patients with
    a miss tell little of it, so it is drawn towards its largest value, that of images that agree in each patient, with
    the weight of `PRIOR_CLUSTERS` patients; it is that value where nothing or everything is hit. Never shorter than
    Wilson's. `docs/objective.md` has its coverage.
    """
    found = np.asarray(hits, np.float64)
    if not len(found):
        raise ValueError("`hits` must not be empty")
    patients = _patient_numbers(groups, len(found))
    n_images, n_hits = np.bincount(patients), np.bincount(patients, weights=found)  # (k,) a patient
    effect = _design_effect(n_images, n_hits.astype(np.float64))
    return _wilson(float(found.mean()), len(found) / effect, confidence)


def _design_effect(n_images: Ints, n_hits: Floats) -> float:
    """Return the design effect of the images of (k,) patients; at least 1."""
    n, k = float(n_images.sum()), len(n_images)
    share = float(n_hits.sum()) / n
    largest = float((n_images**2).sum()) / n
    if share in (0.0, 1.0) or k < 2:
        return largest
    variance = k / (k - 1) * float(((n_hits - share * n_images) ** 2).sum()) / n**2
    n_telling = min(int((n_hits > 0).sum()), int((n_hits < n_images).sum()))
    observed = variance * n / (share * (1 - share))
    return max(1.0, (n_telling * observed + PRIOR_CLUSTERS * largest) / (n_telling + PRIOR_CLUSTERS))


def calibrated_error(
    scores: npt.ArrayLike, groups: npt.ArrayLike, *, seed: int, n_draws: int = 500, confidence: float = 0.95
) -> Interval:
    """Return between which values the calibration error of these `scores` (n,) would lie if they were calibrated.

    The error is a mean of absolute gaps: chance alone makes it greater than 0, so that no resampling interval of it
    covers the truth of a calibrated model. Outcomes are drawn from the scores instead; the images of one patient,
    named by `groups` (n,), share their draw, which is as alike as calibrated ones can be. An error above the range
    isn't chance.
    """
    values = check_probabilities(np.zeros(len(np.asarray(scores)), int), scores)[1]
    patients = _patient_numbers(groups, len(values))
    generator = np.random.default_rng(seed)
    n_patients = int(patients.max()) + 1
    errors = [
        expected_calibration_error(generator.random(n_patients)[patients] < values, values) for _ in range(n_draws)
    ]
    return percentile_interval("calibrated error", errors, confidence)


def patient_bootstrap(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    metrics: Mapping[str, Metric],
    *,
    seed: int,
    n_resamples: int = 2000,  # the 2.5 % end then rests on 50 resamples
    confidence: float = 0.95,
    stratified: bool = True,
) -> Mapping[str, Interval]:
    """Return the percentile interval of each of `metrics`, resampling whole patients with replacement.

    `groups` (n,) names the patient of each image; images of one patient are alike, so that drawing images would
    give intervals too short (Field & Welsh 2007, "Bootstrapping clustered data"). All metrics see the same
    resamples. `stratified` draws the patients with only negative, only positive and both kinds of images apart:
    the numbers of patients per class stay as they are, as in a study that sampled by class, and no resample loses
    a class. Otherwise the prevalence varies as well, and a resample that lost a class is drawn again.

    Resamples where a metric is None (no one called positive, for PPV) are left out for that metric. A percentile
    interval can't see what the sample never shows: at 100 % recall it is [1, 1], and `clopper_pearson` over
    patients is the honest one. Below about 20 patients in a class it is too short.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence!r}")
    labels, values = check_scores(y, scores)
    patients = _patient_numbers(groups, len(labels))
    order = np.argsort(values, kind="stable")  # resamples come out sorted, which metrics sort again for nearly nothing
    labels, values = labels[order], values[order]
    drawn = resamples(labels, patients[order], seed=seed, n_resamples=n_resamples, stratified=stratified)
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in drawn:
        for name, metric in metrics.items():
            value = metric(labels[rows], values[rows])
            if value is not None:
                found[name].append(value)
    return {name: percentile_interval(name, sample, confidence) for name, sample in found.items()}


def resamples(
    y: npt.ArrayLike, groups: npt.ArrayLike, *, seed: int, n_resamples: int = 2000, stratified: bool = True
) -> Iterator[Ints]:
    """Yield the row numbers of each resample of whole patients, ascending, a row as often as its patient was drawn.

    See `patient_bootstrap`; for what is no metric of labels and scores, such as a difference of two networks.
    """
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be at least 1, got {n_resamples!r}")
    labels = np.asarray(y, np.bool_)
    patients = _patient_numbers(groups, len(labels))
    strata = _strata(labels, patients) if stratified else [np.unique(patients)]
    generator, rows, n_classes = np.random.default_rng(seed), np.arange(len(labels)), len(np.unique(labels))
    for _ in range(n_resamples):
        drawn = _draw(rows, patients, strata, generator)
        while len(np.unique(labels[drawn])) < n_classes:
            drawn = _draw(rows, patients, strata, generator)
        yield drawn


def _draw(rows: Ints, patients: Ints, strata: list[Ints], generator: np.random.Generator) -> Ints:
    picks = [stratum[generator.integers(len(stratum), size=len(stratum))] for stratum in strata]
    times = np.bincount(np.concatenate(picks), minlength=int(patients.max()) + 1)
    return np.repeat(rows, times[patients])


def _strata(labels: Bools, patients: Ints) -> list[Ints]:
    """Return the patients with only negative, with only positive, and with both kinds of images."""
    n_positives = np.bincount(patients, weights=labels)
    n_images = np.bincount(patients)
    negative, positive = n_positives == 0, n_positives == n_images
    kinds = (negative, positive, ~negative & ~positive)
    return [np.flatnonzero(kind) for kind in kinds if kind.any()]


def _patient_numbers(groups: npt.ArrayLike, n: int) -> Ints:
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"`groups` must have shape ({n},) like `scores`, got {names.shape}")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def percentile_interval(name: str, sample: Sequence[float], confidence: float) -> Interval:
    """Return the interval between the quantiles of what resamples gave; raises `ValueError` where that is nothing."""
    if not sample:
        raise ValueError(f"`metrics` must be defined on some resample, got none for {name!r}")
    low, high = np.quantile(sample, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high), confidence=confidence)


def check_counts(n_hits: int, n: int, confidence: float) -> None:
    """Raise `ValueError` unless `n_hits` of `n` is a proportion and `confidence` is between 0 and 1."""
    if n < 1 or not 0 <= n_hits <= n:
        raise ValueError(f"`n_hits` must be in [0, n] with n ≥ 1, got {n_hits!r} of {n!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence!r}")
