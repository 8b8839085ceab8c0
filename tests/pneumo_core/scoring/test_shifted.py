"""Recall and specificity under shifts."""

from dataclasses import replace

import numpy as np
import pytest

from pneumo_core.scoring import shifted

Y = np.array([1, 1, 1, 1, 0, 0, 0, 0])
SCORES = np.array([0.9, 0.5, 0.4, 0.3, 0.5, 0.2, 0.1, 0.1])


def test_figures_are_shares_with_intervals_around_them() -> None:
    found = shifted.figures("dark", Y, SCORES, np.arange(8), threshold=0.5)
    assert (found.shift, found.n_positive, found.n_negative) == ("dark", 4, 4)
    assert (found.recall, found.specificity) == (0.5, 0.75)
    assert found.recall_ci[0] < found.recall < found.recall_ci[1]
    assert found.specificity_ci[0] < found.specificity < found.specificity_ci[1]
    wider = shifted.figures("dark", Y, SCORES, np.arange(8), threshold=0.5, confidence=0.99)
    assert wider.recall_ci[0] < found.recall_ci[0]


def test_several_images_of_a_patient_widen_the_interval() -> None:
    y, scores = np.tile(Y, 8), np.tile(SCORES, 8)
    alone = shifted.figures("", y, scores, np.arange(64), threshold=0.5)
    together = shifted.figures("", y, scores, np.tile(np.arange(8), 8), threshold=0.5)
    assert np.ptp(together.recall_ci) > np.ptp(alone.recall_ci)


def test_the_worst_shift_is_named_for_either_figure() -> None:
    plain = shifted.figures("", Y, SCORES, np.arange(8), threshold=0.5)
    every = [plain, replace(plain, shift="a", recall=0.2), replace(plain, shift="b", specificity=0.1)]
    assert shifted.worst(every) == ("a", "b")


@pytest.mark.parametrize(("name", "text"), [("", "as they are"), ("low_gamma", "low gamma")])
def test_names_are_read_as_words(name: str, text: str) -> None:
    assert shifted.spoken(name) == text
