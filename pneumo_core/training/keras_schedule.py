"""Keras' own learning-rate schedules as data: a class and its settings, as JSON."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras.optimizers import schedules

CLASSES = (
    *("CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay"),
    *("PiecewiseConstantDecay", "PolynomialDecay"),
)


def pack(schedule: schedules.LearningRateSchedule) -> str:
    """Return `schedule` as JSON. Raises `ValueError` for one that is not Keras' own."""
    name = type(schedule).__name__
    if name not in CLASSES or type(schedule) is not getattr(schedules, name):
        raise ValueError(
            f"the model is compiled with the schedule {name}, which is not Keras' own: use {', '.join(CLASSES)}, or "
            "give `schedule` ('constant', 'plateau' or 'cosine') and `learning_rate` to from_keras_tuner"
        )
    return json.dumps({"class": name, **schedule.get_config()}, sort_keys=True)


def first_rate(packed: str) -> float:
    """Return the rate of the first step, in which a warm-up may begin at 0: then the one that it rises to."""
    config = json.loads(packed)
    values = config.get("values") or [config.get("warmup_target") or config["initial_learning_rate"]]
    return float(values[0])


def rates(packed: str, steps: Iterable[int]) -> np.ndarray:
    """Return the learning rate of each of `steps`, float32. Raises `ValueError` for a text that is no schedule."""
    schedule = _schedule(packed)
    return np.array([float(keras.ops.convert_to_numpy(schedule(step))) for step in steps], np.float32)


@lru_cache(maxsize=8)
def _schedule(packed: str) -> Any:
    config = json.loads(packed)
    name = config.pop("class", None)
    if name not in CLASSES:
        raise ValueError(f"`keras_schedule` must be one of {', '.join(CLASSES)}, got {name!r}")
    return getattr(schedules, name)(**config)
