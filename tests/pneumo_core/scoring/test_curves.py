"""Curves agree with scikit-learn and with their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from pneumo_core.scoring import curves, metrics
from pneumo_core.scoring.intervals import wilson


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Both classes, scores of whole 32nds in [0, 1]: many ties."""
    n = draw(st.integers(2, 50))
    y = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])
    return y, np.array(draw(st.lists(st.integers(0, 32), min_size=n, max_size=n))) / 32


@given(labelled_scores())
def test_roc_points_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, scores = data
    found = curves.roc(y, scores)
    false_positive_rate, recall, _ = roc_curve(y, scores, drop_intermediate=False)
    assert found.false_positive_rate == pytest.approx(false_positive_rate, abs=1e-12)
    assert found.recall == pytest.approx(recall, abs=1e-12)
    assert np.trapezoid(found.recall, found.false_positive_rate) == pytest.approx(metrics.auc(y, scores), abs=1e-12)


@given(labelled_scores())
def test_every_roc_point_is_what_its_threshold_does(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, scores = data
    found = curves.roc(y, scores)
    assert (np.diff(found.thresholds) < 0).all()
    for point, threshold in enumerate(found.thresholds):
        counts = metrics.confusion(y, scores, threshold)
        assert counts.recall == pytest.approx(found.recall[point], abs=1e-12)
        assert counts.specificity == pytest.approx(1 - found.false_positive_rate[point], abs=1e-12)


def test_calibration_equals_scikit_learn_without_ties() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=500)
    y = rng.uniform(size=500) < scores
    found = curves.calibration(y, scores, np.arange(500), n_bins=10)
    share, mean = calibration_curve(y, scores, n_bins=10, strategy="quantile")
    assert found.share_positive == pytest.approx(share, abs=1e-12)
    assert found.mean_score == pytest.approx(mean, abs=1e-12)
    assert found.n.tolist() == [50] * 10
    expected = wilson(round(share[3] * 50), 50)
    assert (found.low[3], found.high[3]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_an_image_that_is_there_twice_narrows_no_interval() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=300)
    y = rng.uniform(size=300) < scores
    once = curves.calibration(y, scores, np.arange(300))
    twice = curves.calibration(np.tile(y, 2), np.tile(scores, 2), np.tile(np.arange(300), 2))
    assert twice.share_positive == pytest.approx(once.share_positive)
    assert (twice.high - twice.low) == pytest.approx(once.high - once.low, rel=0.1)


@given(labelled_scores(), st.integers(1, 12))
def test_calibration_bins_share_out_everyone(data: tuple[np.ndarray, np.ndarray], n_bins: int) -> None:
    y, scores = data
    found = curves.calibration(y, scores, np.arange(len(y)), n_bins)
    assert found.n.sum() == len(y)
    assert found.n.min() > 0
    assert (np.diff(found.mean_score) > 0).all()
    assert (found.share_positive * found.n).sum() == pytest.approx(y.sum())
    error = np.sum(found.n * np.abs(found.share_positive - found.mean_score)) / len(y)
    assert error == pytest.approx(metrics.expected_calibration_error(y, scores, n_bins), abs=1e-12)


@given(labelled_scores(), st.lists(st.integers(1, 31), min_size=1, max_size=10))
def test_net_benefit_is_its_definition(data: tuple[np.ndarray, np.ndarray], parts: list[int]) -> None:
    y, scores = data
    found = curves.decision(y, scores, np.array(parts) / 32)
    for i, p in enumerate(np.array(parts) / 32):
        counts = metrics.confusion(y, scores, p)
        expected = counts.true_positive / len(y) - counts.false_positive / len(y) * p / (1 - p)
        assert found.model[i] == pytest.approx(expected, abs=1e-12)
        assert found.act_on_all[i] == pytest.approx(y.mean() - (1 - y.mean()) * p / (1 - p), abs=1e-12)


def test_a_perfect_model_has_the_prevalence_as_net_benefit() -> None:
    y = np.repeat([0, 1], [30, 10])
    found = curves.decision(y, y.astype(float))
    assert found.model == pytest.approx(np.full(99, 0.25))
    assert (found.act_on_all < found.model).all()


@pytest.mark.parametrize("probabilities", [[0.0], [1.0], [[0.5]], [np.nan]])
def test_impossible_threshold_probabilities_are_refused(probabilities: list[float]) -> None:
    with pytest.raises(ValueError, match=r"lie in \(0, 1\)"):
        curves.decision([0, 1], [0.1, 0.9], probabilities)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    for function in (lambda y, scores: curves.calibration(y, scores, [0, 1]), curves.decision):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\], got \[-1, 2\]"):
            function([0, 1], [-1.0, 2.0])
