"""Scores of several networks as one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core.scoring.average import average


def test_one_network_keeps_its_scores_exactly() -> None:
    scores = np.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(average([scores]), scores)


def test_it_is_the_sigmoid_of_the_mean_logit() -> None:
    assert average([[0.9], [0.5]])[0] == pytest.approx(0.75)  # logits log 9 and 0: half of log 9 is log 3


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=5))
def test_it_lies_between_its_members_and_keeps_their_common_order(networks: list[list[float]]) -> None:
    found = average(networks)
    assert np.isfinite(found).all()
    assert (found >= np.min(networks, axis=0) - 1e-6).all()
    assert (found <= np.max(networks, axis=0) + 1e-6).all()
