"""When a training ends: no better than chance, or with a network that collapsed."""

from dataclasses import replace

import numpy as np
import pytest

from pneumo_core.errors import TrialFailed
from pneumo_core.specs import ObjectiveSpec
from pneumo_core.training import ending
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_train import CNN, trial
from tests.pneumo_core.training.test_trial import go_on


def test_log_loss_is_that_of_the_textbook_and_never_infinite() -> None:
    y, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 1.0, 1.0], np.float32)

    assert ending.log_loss(y[:2], scores[:2]) == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2, rel=1e-6)
    assert np.isfinite(ending.log_loss(y, scores))


def test_a_network_that_gives_all_images_one_score_has_collapsed() -> None:
    with pytest.raises(TrialFailed, match=r"1 different scores to 30 images: it collapsed"):
        ending.check_collapse(np.full(30, 0.7))
    with pytest.raises(TrialFailed, match="collapsed"):
        ending.check_collapse(np.tile(np.linspace(0.1, 0.9, 10), 10))
    ending.check_collapse(np.linspace(0.1, 0.9, 30))
    ending.check_collapse(np.concatenate([np.zeros(40), np.ones(40), np.linspace(0.1, 0.9, 5)]))  # sure, not collapsed


def test_a_training_no_better_than_chance_ends_after_a_few_epochs() -> None:
    data = arrays(n_train=60, n_validation=600)
    shuffled = replace(data, y_train=np.random.default_rng(0).permutation(data.y_train))
    x = np.random.default_rng(1).integers(0, 255, data.x_validation.shape, dtype=np.uint8)
    result = run_trial(trial(CNN, epochs=9, patience=9), ObjectiveSpec(), replace(shuffled, x_validation=x), 1, go_on)
    assert (result.stopped, result.n_epochs) == ("early", ending.HOPELESS_EPOCHS)
