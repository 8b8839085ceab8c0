"""Exact intervals agree with SciPy and statsmodels."""

from collections.abc import Callable

import pytest
from hypothesis import given
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from pneumo_core.scoring.exact import clopper_pearson, upper_bound
from tests.pneumo_core.scoring.counts import confidences, counts


@given(counts, confidences)
def test_clopper_pearson_equals_scipy_and_statsmodels(count: tuple[int, int], confidence: float) -> None:
    found = clopper_pearson(*count, confidence)
    scipy = binomtest(*count).proportion_ci(confidence, "exact")
    assert (found.low, found.high) == pytest.approx((scipy.low, scipy.high), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(proportion_confint(*count, 1 - confidence, "beta"), abs=1e-9)


@given(counts, confidences)
def test_the_upper_bound_equals_scipy(count: tuple[int, int], confidence: float) -> None:
    scipy = binomtest(*count, alternative="less").proportion_ci(confidence, "exact")
    assert upper_bound(*count, confidence) == pytest.approx(scipy.high, abs=1e-9)


@given(counts, confidences)
def test_it_holds_the_observed_share_and_stays_in_bounds(count: tuple[int, int], confidence: float) -> None:
    found = clopper_pearson(*count, confidence)
    assert 0 <= found.low <= count[0] / count[1] <= found.high <= 1


@pytest.mark.parametrize("count", [(1, 0), (-1, 5), (6, 5)])
@pytest.mark.parametrize("function", [clopper_pearson, upper_bound])
def test_impossible_counts_are_refused(function: Callable[..., object], count: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`n_hits` must be in"):
        function(*count)
