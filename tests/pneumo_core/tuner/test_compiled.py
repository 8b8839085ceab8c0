"""Optimizers of compiled models as fields of `TrainSpec`."""

from typing import Any

import keras
import pytest
from keras import layers, optimizers

from pneumo_core.specs import TrainSpec
from pneumo_core.tuner import compiled


def fields(compiled_with: Any, loss: Any = "binary_crossentropy", **given: Any) -> dict[str, Any]:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    if compiled_with is not None:
        model.compile(compiled_with, loss)
    found = compiled.train_fields(model, compiled.loss_of(model), given)
    TrainSpec(**{**found, **given})
    return found


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", {"optimizer": "adam", "learning_rate": 0.001}),
        (optimizers.Adam(3e-4), {"optimizer": "adam", "learning_rate": 3e-4}),
        (optimizers.Adam(1e-3, weight_decay=0.01), {"optimizer": "adamw", "weight_decay": 0.01}),
        (optimizers.AdamW(1e-3), {"optimizer": "adamw", "weight_decay": 0.004}),
        (optimizers.SGD(0.1, momentum=0.9), {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9}),
        ("rmsprop", {"optimizer": "rmsprop", "learning_rate": 0.001}),
    ],
)
def test_optimizer_and_rate_are_taken_over(optimizer: Any, expected: dict[str, Any]) -> None:
    found = fields(optimizer)
    assert expected.items() <= found.items()


def test_label_smoothing_is_taken_over() -> None:
    assert fields("adam", keras.losses.BinaryCrossentropy(label_smoothing=0.1))["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (optimizers.Nadam(), "the optimizer Nadam, known are SGD, Adam, AdamW, RMSprop"),
        (optimizers.SGD(0.1, nesterov=True), r"SGD\(nesterov=True\), which is False here"),
        (optimizers.Adam(beta_1=0.5), r"Adam\(beta_1=0.5\)"),
        (optimizers.Adam(clipnorm=1.0), r"Adam\(clipnorm=1.0\)"),
        (optimizers.RMSprop(weight_decay=0.1), r"RMSprop\(weight_decay=0.1\)"),
        (optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), "a learning-rate schedule"),
        (None, "isn't compiled: compile it, or give `learning_rate`"),
    ],
)
def test_what_can_t_be_taken_over_is_named(optimizer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fields(optimizer)


def test_what_is_given_anyway_is_not_asked_of_the_model() -> None:
    assert fields(optimizers.Nadam(0.01), optimizer="adam") == {"label_smoothing": 0.0, "learning_rate": 0.01}
    schedule = optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert fields(optimizers.Adam(schedule), learning_rate=0.1)["optimizer"] == "adam"
    assert fields(None, optimizer="sgd", learning_rate=0.1) == {}
