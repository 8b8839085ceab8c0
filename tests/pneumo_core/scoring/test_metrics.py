"""The fast metrics agree with scikit-learn, ties included, and refuse what can't be measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from pneumo_core.scoring import metrics


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Both classes, 2 to 60 images, scores of whole 64ths in [0, 1]: many ties, exact arithmetic."""
    n = draw(st.integers(2, 60))
    y = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])
    return y, np.array(draw(st.lists(st.integers(0, 64), min_size=n, max_size=n))) / 64


@given(labelled_scores(), st.floats(0.001, 0.999))
def test_auc_and_partial_auc_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray], ceiling: float) -> None:
    y, scores = data
    assert metrics.auc(y, scores) == pytest.approx(roc_auc_score(y, scores), abs=1e-12)
    expected = roc_auc_score(1 - y, -scores, max_fpr=ceiling)
    assert metrics.pauc(y, scores, ceiling) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_partial_auc_equals_scikit_learn_where_the_ceiling_is_a_step(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    y = np.repeat([0, 1], [150, 100])
    scores = np.round(rng.normal(size=250) + y, decimals)
    for n_missed in range(1, 100):
        expected = roc_auc_score(1 - y, -scores, max_fpr=n_missed / 100)
        assert metrics.pauc(y, scores, n_missed / 100) == pytest.approx(expected, abs=1e-12)


def test_the_whole_partial_auc_is_the_auc() -> None:
    y, scores = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.1, 0.5, 0.4, 0.9])
    assert metrics.pauc(y, scores, 1.0) == pytest.approx(metrics.auc(y, scores), abs=1e-12)


@given(labelled_scores())
def test_rising_transforms_of_the_scores_change_no_rank_metric(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, scores = data
    for moved in (scores**3, np.exp(scores), 7 * scores - 3, scores.astype(np.float32)):
        assert metrics.auc(y, moved) == metrics.auc(y, scores)
        assert metrics.pauc(y, moved, 0.1) == metrics.pauc(y, scores, 0.1)


@given(labelled_scores())
def test_turning_the_scores_round_turns_the_auc_round(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, scores = data
    assert metrics.auc(y, -scores) == pytest.approx(1 - metrics.auc(y, scores), abs=1e-12)


@given(labelled_scores())
def test_every_cut_has_a_threshold_that_realises_it(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, scores = data
    cuts = metrics.cuts(y, scores)
    for cut in range(len(cuts.distinct) + 1):
        counts = metrics.confusion(y, scores, cuts.threshold(cut))
        assert (counts.false_negative, counts.true_negative) == (cuts.n_missed[cut], cuts.n_cleared[cut])


def test_thresholds_stand_half_way_so_that_noise_flips_nothing() -> None:
    cuts = metrics.cuts([0, 1, 1], [0.25, 0.5, 0.75])
    assert [cuts.threshold(cut) for cut in range(4)] == [0.0, 0.375, 0.625, 1.0]


def test_thresholds_hold_between_scores_one_float_apart() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    assert low < metrics.cuts([0, 1], [low, high]).threshold(1) <= high


def test_thresholds_hold_for_scores_outside_the_unit_interval() -> None:
    y, scores = np.array([0, 1, 1]), np.array([-4.0, 3.0, 8.0])
    cuts = metrics.cuts(y, scores)
    assert metrics.confusion(y, scores, cuts.threshold(0)).true_positive == 2
    assert metrics.confusion(y, scores, cuts.threshold(3)).false_negative == 2


@given(labelled_scores(), st.floats(0, 1))
def test_confusion_and_brier_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    y, scores = data
    counts = metrics.confusion(y, scores, threshold)
    expected = confusion_matrix(y, scores >= threshold, labels=[0, 1])
    found = [[counts.true_negative, counts.false_positive], [counts.false_negative, counts.true_positive]]
    assert found == expected.tolist()
    assert metrics.brier(y, scores) == pytest.approx(brier_score_loss(y, scores), abs=1e-12)


def test_confusion_rates_are_the_textbook_ones() -> None:
    counts = metrics.Confusion(true_positive=45, false_negative=5, true_negative=80, false_positive=20)
    rates = (counts.recall, counts.fnr, counts.specificity, counts.ppv, counts.npv, counts.accuracy)
    assert rates == (45 / 50, 5 / 50, 80 / 100, 45 / 65, 80 / 85, 125 / 150)


def test_a_rate_without_a_denominator_is_none() -> None:
    counts = metrics.confusion([0, 0], [0.1, 0.2], threshold=0.5)
    assert (counts.recall, counts.fnr, counts.ppv, counts.specificity) == (None, None, None, 1.0)


def test_calibration_error_of_two_bins_by_hand() -> None:
    y, scores = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.7]  # bins: mean 0.15 against 0.5, mean 0.65 against 1
    assert metrics.expected_calibration_error(y, scores, n_bins=2) == pytest.approx((0.35 + 0.35) / 2, abs=1e-12)


def test_calibration_error_tells_calibrated_scores_from_overconfident_ones() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=20_000)
    y = rng.uniform(size=20_000) < scores
    assert metrics.expected_calibration_error(y, scores) < 0.02
    assert metrics.expected_calibration_error(y, np.round(scores)) > 0.2


@given(labelled_scores(), st.integers(0, 99))
def test_calibration_error_does_not_depend_on_the_order(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    y, scores = data
    order = np.random.default_rng(seed).permutation(len(y))
    shuffled = metrics.expected_calibration_error(y[order], scores[order], 5)
    assert shuffled == pytest.approx(metrics.expected_calibration_error(y, scores, 5), abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="`scores` must be finite, got 1 NaN or infinite of 3"):
        metrics.auc([0, 1, 1], [0.1, bad, 0.3])


@pytest.mark.parametrize(("label", "counts"), [(1, "3 positives and 0 negatives"), (0, "0 positives and 3 negatives")])
def test_a_single_class_is_refused_with_its_counts(label: int, counts: str) -> None:
    with pytest.raises(ValueError, match=counts):
        metrics.auc([label] * 3, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([], [], "n ≥ 1"),
        ([0, 1], [0.5], "shape"),
        ([[0], [1]], [[0.1], [0.2]], "shape"),
        ([0, 2], [0.1, 0.2], "only 0 and 1"),
        ([-1, 1], [0.1, 0.2], "only 0 and 1"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused(y: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.cuts(y, scores)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got \[0.5, 1.5\]"):
        metrics.brier([0, 1], [0.5, 1.5])
    with pytest.raises(ValueError, match=r"`fnr_ceiling` must be in \(0, 1\], got 0"):
        metrics.pauc([0, 1], [0.1, 0.2], 0)
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        metrics.expected_calibration_error([0, 1], [0.1, 0.2], 0)
