"""Learning-rate schedules."""

from typing import Any

import numpy as np
import pytest

from pneumo_core.specs import TrainSpec
from pneumo_core.training import schedule
from pneumo_core.training.schedule import PlateauState


def spec(**fields: Any) -> TrainSpec:
    return TrainSpec(**{"learning_rate": 0.1, "epochs": 4, **fields})


def all_rates(train: TrainSpec, n_steps: int = 5) -> np.ndarray:
    epochs = range(train.epochs)
    return np.concatenate([schedule.learning_rates(train, PlateauState(), epoch=e, n_steps=n_steps) for e in epochs])


def test_a_constant_rate_is_constant() -> None:
    np.testing.assert_array_equal(all_rates(spec(schedule="constant")), np.float32(0.1))


def test_warm_up_rises_evenly_to_the_full_rate() -> None:
    rates = all_rates(spec(schedule="constant", warmup_epochs=2.0))

    np.testing.assert_allclose(rates[:10], 0.1 * np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_array_equal(rates[10:], np.float32(0.1))


def test_the_cosine_falls_from_the_full_rate_to_nearly_nothing() -> None:
    rates = all_rates(spec(schedule="cosine"))

    assert rates[0] == np.float32(0.1)
    assert (np.diff(rates) < 0).all()
    np.testing.assert_allclose(rates[10], 0.05, rtol=1e-6)  # half-way
    assert 0 < rates[-1] < 0.001


def test_the_cosine_begins_after_the_warm_up() -> None:
    rates = all_rates(spec(schedule="cosine", warmup_epochs=1.0))

    assert rates.argmax() in (4, 5)
    assert rates[-1] < 0.002


def test_the_plateau_multiplies_the_rate_after_so_many_stale_epochs() -> None:
    train, state, factors = spec(plateau_patience=2, plateau_factor=0.5), PlateauState(), []
    for cost in (1.0, 0.9, 0.9, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9):
        state = schedule.after_epoch(train, state, cost)
        factors.append(state.factor)

    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert schedule.learning_rates(train, state, epoch=3, n_steps=1)[0] == pytest.approx(0.0125)


def test_the_plateau_stops_at_a_floor() -> None:
    train, state = spec(plateau_patience=1, plateau_factor=0.001), PlateauState(best=0.0)
    for _ in range(5):
        state = schedule.after_epoch(train, state, 1.0)

    assert schedule.learning_rates(train, state, epoch=3, n_steps=1)[0] == np.float32(schedule.LEARNING_RATE_FLOOR)
