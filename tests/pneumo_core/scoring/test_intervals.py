"""Intervals agree with SciPy and statsmodels, and the patient bootstrap covers where an image bootstrap doesn't."""

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from benchmarks.coverage import coverage
from pneumo_core import codec
from pneumo_core.scoring import metrics
from pneumo_core.scoring.intervals import (
    PRIOR_CLUSTERS,
    Interval,
    calibrated_error,
    clustered,
    patient_bootstrap,
    wilson,
)
from tests.pneumo_core.scoring.counts import confidences, counts


def recall_at_half(y: np.ndarray, scores: np.ndarray) -> float | None:
    return metrics.confusion(y, scores, 0.5).recall


@given(counts, confidences)
def test_wilson_equals_scipy_and_statsmodels(count: tuple[int, int], confidence: float) -> None:
    found = wilson(*count, confidence)
    scipy = binomtest(*count).proportion_ci(confidence, "wilson")
    assert (found.low, found.high) == pytest.approx((scipy.low, scipy.high), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(proportion_confint(*count, 1 - confidence, "wilson"), abs=1e-9)


@given(counts, confidences)
def test_intervals_hold_the_observed_share_and_stay_in_bounds(count: tuple[int, int], confidence: float) -> None:
    found = wilson(*count, confidence)
    assert 0 <= found.low <= count[0] / count[1] <= found.high <= 1


def test_the_bootstrap_of_an_auc_is_as_wide_as_delong_says() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [234, 390])
    scores = rng.normal(size=624) + 2.5 * y
    found = patient_bootstrap(y, scores, np.arange(624), {"auc": metrics.auc}, seed=0)["auc"]
    positives, negatives = scores[y == 1], scores[y == 0]
    wins = positives[:, None] > negatives
    variance = wins.mean(axis=1).var(ddof=1) / 390 + wins.mean(axis=0).var(ddof=1) / 234  # DeLong et al. (1988)
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(variance), rel=0.1)
    assert found.low < metrics.auc(y, scores) < found.high


def test_patients_cover_where_images_do_not() -> None:
    """Five alike images each: the interval over images is too short by about the root of five."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 5)
    y = np.ones(300, dtype=bool)
    hits = {"patient": 0, "image": 0}
    for repeat in range(60):
        scores = np.repeat(rng.normal(size=60), 5) + 0.2 * rng.normal(size=300) + 1.02  # true recall 0.8 at 0
        for unit, names in (("patient", groups), ("image", np.arange(300))):
            found = patient_bootstrap(
                y, scores, names, {"recall": lambda y, s: float(np.mean(s >= 0))}, seed=repeat, n_resamples=200
            )["recall"]
            hits[unit] += found.low <= norm.cdf(1.02 / np.sqrt(1.04)) <= found.high
    assert hits["patient"] >= 60 * 0.88
    assert hits["image"] <= 60 * 0.75


def test_strata_keep_the_number_of_patients_of_each_class() -> None:
    groups = np.array(["a", "a", "b", "c", "d", "d", "e"])
    y = np.array([1, 1, 1, 0, 0, 1, 0])  # a, b positive; c, e negative; d both
    scores = np.linspace(0.1, 0.7, 7)
    seen: list[tuple[float, ...]] = []

    def note(labels: np.ndarray, values: np.ndarray) -> float:
        seen.append(tuple(np.round(values, 6)))
        return float(labels.mean())

    patient_bootstrap(y, scores, groups, {"share": note}, seed=0, n_resamples=50)
    for values in seen:
        assert values.count(0.4) + values.count(0.7) == 2  # c and e: two draws of two negatives
        assert values.count(0.5) == values.count(0.6) == 1  # d is the only one of its stratum
        assert values.count(0.1) == values.count(0.2)  # a comes whole
        assert values.count(0.1) + values.count(0.3) == 2


def test_without_strata_no_resample_loses_a_class() -> None:
    y = np.array([1, 0, 0, 0])
    found = patient_bootstrap(
        y, [0.9, 0.1, 0.2, 0.3], np.arange(4), {"auc": metrics.auc}, seed=0, n_resamples=200, stratified=False
    )["auc"]
    assert found == Interval(low=1.0, high=1.0, confidence=0.95)


def test_the_seed_decides_and_the_order_of_images_does_not() -> None:
    rng = np.random.default_rng(3)
    y, scores, groups = rng.integers(0, 2, 80), rng.uniform(size=80), rng.integers(0, 30, 80)
    found = [
        patient_bootstrap(y[rows], scores[rows], groups[rows], {"auc": metrics.auc}, seed=seed, n_resamples=100)
        for rows, seed in ((slice(None), 0), (slice(None, None, -1), 0), (slice(None), 1))
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_resamples_where_a_metric_is_undefined_are_left_out() -> None:
    y, scores = np.array([0, 1, 1]), np.array([0.1, 0.2, 0.9])
    ppv = {"ppv": lambda y, s: metrics.confusion(y, s, 0.5).ppv}
    assert patient_bootstrap(y, scores, np.arange(3), ppv, seed=0, n_resamples=50)["ppv"].low == 1.0
    with pytest.raises(ValueError, match="none for 'ppv'"):
        patient_bootstrap(y, scores / 10, np.arange(3), ppv, seed=0, n_resamples=50)


def test_several_metrics_share_the_resamples() -> None:
    rng = np.random.default_rng(4)
    y, scores = np.repeat([0, 1], 40), rng.uniform(size=80)
    both = patient_bootstrap(
        y, scores, np.arange(80), {"auc": metrics.auc, "recall": recall_at_half}, seed=5, n_resamples=100
    )
    alone = patient_bootstrap(y, scores, np.arange(80), {"recall": recall_at_half}, seed=5, n_resamples=100)
    assert both["recall"] == alone["recall"]


def test_an_interval_survives_json() -> None:
    found = wilson(3, 10)
    assert codec.from_json(Interval, codec.to_json(found)) == found


@pytest.mark.parametrize("count", [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(count: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`n_hits` must be in"):
        wilson(*count)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`confidence` must be in \(0, 1\), got 95"):
        wilson(1, 2, 95)
    with pytest.raises(ValueError, match=r"`groups` must have shape \(2,\)"):
        patient_bootstrap([0, 1], [0.1, 0.2], ["a"], {}, seed=0)
    with pytest.raises(ValueError, match="`n_resamples` must be at least 1"):
        patient_bootstrap([0, 1], [0.1, 0.2], ["a", "b"], {}, seed=0, n_resamples=0)


@pytest.mark.parametrize("likeness", [0.01, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("share", [0.9, 0.97, 0.99])
def test_the_clustered_interval_covers_where_patients_have_several_images(share: float, likeness: float) -> None:
    ours, by_image = coverage(150, share, likeness, n_draws=200)
    assert ours >= 0.92
    if likeness >= 0.6:
        assert by_image < 0.9


def test_with_one_image_a_patient_the_clustered_interval_is_wilson_s() -> None:
    hits = np.arange(200) % 10 > 0
    found, alone = clustered(hits, np.arange(200)), wilson(180, 200)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-3)
    everything = clustered(np.ones(40, bool), np.arange(40) // 2)
    assert (everything.low, everything.high) == (wilson(20, 20).low, 1.0)


def test_the_clustered_interval_is_that_of_the_effective_number_of_images() -> None:
    """Computed by hand for 2, 2, 1 and 3 images a patient, of which 0, 1, 1 and 0 are hits."""
    groups, hits = np.repeat([0, 1, 2, 3], [2, 2, 1, 3]), np.array([0, 0, 1, 0, 1, 0, 0, 0], bool)
    largest = (2**2 + 2**2 + 1**2 + 3**2) / 8
    variance = 4 / 3 * (0.5**2 + 0.5**2 + 0.75**2 + 0.75**2) / 8**2
    observed = variance / (0.25 * 0.75 / 8)
    n_effective = 8 / ((2 * observed + PRIOR_CLUSTERS * largest) / (2 + PRIOR_CLUSTERS))  # two patients have a hit
    found = clustered(hits, groups)
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(0.25 * n_effective, n_effective, 0.05, "wilson"), abs=1e-9
    )


def test_the_range_of_the_calibration_error_holds_calibrated_scores_and_no_others() -> None:
    rng, inside = np.random.default_rng(0), 0
    for seed in range(60):
        scores = rng.beta(0.4, 0.3, 300)
        y = rng.random(300) < scores
        found = calibrated_error(scores, np.arange(300), seed=seed, n_draws=100)
        inside += found.low <= metrics.expected_calibration_error(y, scores) <= found.high
        assert (
            metrics.expected_calibration_error(y, scores**3)
            > calibrated_error(scores**3, np.arange(300), seed=seed, n_draws=100).high
        )
    assert inside >= 0.9 * 60
