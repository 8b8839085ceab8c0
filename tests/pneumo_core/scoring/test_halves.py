"""A threshold set on one half of the patients and judged on the other."""

import numpy as np
import pytest

from pneumo_core.scoring import halves
from pneumo_core.scoring.halves import repeated_halves


def cohort(n_ill: int = 60, n_well: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores that overlap, and patients of two images each, ill ones first."""
    y = np.repeat([1, 0], [n_ill, n_well])
    scores = np.clip(np.random.default_rng(0).normal(0.35 + 0.3 * y, 0.1), 0, 1)
    return y, scores, np.arange(len(y)) // 2


def judged(y: np.ndarray, scores: np.ndarray, groups: np.ndarray, **changes: object) -> halves.Halves:
    settings = {"old_threshold": 0.5, "patients_known": True, "ceiling": 0.2, "confidence": 0.8, "n_halves": 20}
    return repeated_halves(y, scores, groups, **{**settings, **changes})  # type: ignore[arg-type]


def test_halves_of_either_kind_of_patient_and_no_patient_on_both_sides() -> None:
    y, _, groups = cohort(n_ill=14, n_well=10)  # 7 and 5 patients
    for seed in range(20):
        setting = halves._half(y == 1, groups, np.random.default_rng(seed))
        assert (setting[y == 1].sum(), setting[y == 0].sum()) == (6, 4)
        assert all(len(set(setting[groups == patient])) == 1 for patient in groups)
    assert not halves._half(np.array([True, False]), np.arange(2), np.random.default_rng(0)).any()


def test_rates_are_of_images_and_a_score_at_the_threshold_is_positive() -> None:
    labels, values = np.array([True, True, True, True, False, False]), np.array([0.1, 0.5, 0.6, 0.7, 0.5, 0.4])
    assert halves._rates(labels, values, 0.5) == (0.25, 0.5)


def test_spreads_are_mean_and_central_quantiles() -> None:
    found = halves._spreads([(i / 100, 1 - i / 100) for i in range(101)])
    assert found["fnr"].mean == pytest.approx(0.5)
    assert (found["fnr"].low, found["fnr"].high) == pytest.approx((0.025, 0.975))
    assert (found["specificity"].low, found["specificity"].high) == pytest.approx((0.025, 0.975))


def test_the_old_threshold_has_the_same_rates_whatever_the_new_one_is() -> None:
    y, scores, groups = cohort()
    lenient, strict = judged(y, scores, groups), judged(y, scores, groups, ceiling=0.1, confidence=0.6)
    assert lenient.old == strict.old
    assert lenient.n == 20
    assert lenient.new["fnr"].mean > strict.new["fnr"].mean
    assert lenient.new["specificity"].mean > strict.new["specificity"].mean
    assert lenient == judged(y, scores, groups)
    assert lenient != judged(y, scores, groups, seed=1)


def test_without_enough_positives_the_lowest_positive_score_is_the_threshold() -> None:
    y, scores, groups = cohort()
    enough, too_few = judged(y, scores, groups), judged(y, scores, groups, ceiling=0.001, confidence=0.99)
    assert (enough.n_certified, too_few.n_certified) == (20, 0)
    assert too_few.new["fnr"].mean < enough.new["fnr"].mean
    once = judged(y, scores, groups, ceiling=0.001, confidence=0.99, n_halves=1)
    setting = halves._half(y == 1, groups, np.random.default_rng(0))
    lowest = float(scores[setting & (y == 1)].min())
    rates = halves._rates(y[~setting] == 1, scores[~setting], lowest)
    assert (once.new["fnr"].mean, once.new["specificity"].mean) == rates
