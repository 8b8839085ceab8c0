"""Learning-rate schedules: pure functions of the spec, the position and a small JSON-able state."""

import math
from dataclasses import dataclass, replace

import numpy as np

from pneumo_core.specs import TrainSpec
from pneumo_core.training import keras_schedule

LEARNING_RATE_FLOOR = 1e-8  # of the plateau schedule; below it an Adam step no longer changes a float32 weight


@dataclass(frozen=True, kw_only=True)
class PlateauState:
    """What the plateau schedule remembers between epochs."""

    factor: float = 1.0
    best: float | None = None  # of the monitored cost, lower is better
    stale_epochs: int = 0


def learning_rates(spec: TrainSpec, state: PlateauState, *, epoch: int, n_steps: int) -> np.ndarray:
    """Return the rate of each step of `epoch` (0-based), float32 (n_steps,)."""
    if spec.schedule == "keras":
        return keras_schedule.rates(spec.keras_schedule, range(epoch * n_steps, (epoch + 1) * n_steps))
    done_epochs = epoch + (np.arange(n_steps) + 1) / n_steps  # at the end of each step
    rates = spec.learning_rate * _shape(spec, state, done_epochs - 1 / n_steps)
    if spec.warmup_epochs > 0:
        rates = rates * np.minimum(1.0, done_epochs / spec.warmup_epochs)
    return rates.astype(np.float32)


def after_epoch(spec: TrainSpec, state: PlateauState, cost: float) -> PlateauState:
    """Return the state after an epoch whose monitored cost (lower is better) was `cost`."""
    if state.best is None or cost < state.best:
        return replace(state, best=cost, stale_epochs=0)
    if state.stale_epochs + 1 < spec.plateau_patience:
        return replace(state, stale_epochs=state.stale_epochs + 1)
    factor = max(state.factor * spec.plateau_factor, LEARNING_RATE_FLOOR / spec.learning_rate)
    return replace(state, factor=min(factor, state.factor), stale_epochs=0)


def _shape(spec: TrainSpec, state: PlateauState, done_epochs: np.ndarray) -> np.ndarray:
    if spec.schedule == "plateau":
        return np.full(done_epochs.shape, state.factor)
    if spec.schedule == "constant":
        return np.ones(done_epochs.shape)
    span = max(spec.epochs - spec.warmup_epochs, 1e-9)
    progress = np.clip((done_epochs - spec.warmup_epochs) / span, 0.0, 1.0)
    return 0.5 * (1.0 + np.cos(math.pi * progress))  # SGDR without restarts: Loshchilov & Hutter 2017, eq. 5
