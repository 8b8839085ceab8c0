"""Optimizers of compiled models as fields of `TrainSpec`."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

from pneumo_core import codec
from pneumo_core.specs import TrainSpec
from pneumo_core.training import schedule, steps
from pneumo_core.training.loss import weighted_loss
from pneumo_core.tuner import compiled


class Halving(optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.5

    def get_config(self) -> dict[str, Any]:
        return {}


def fields(compiled_with: Any, loss: Any = "binary_crossentropy", **given: Any) -> dict[str, Any]:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    if compiled_with is not None:
        model.compile(compiled_with, loss)
    found = compiled.train_fields(model, compiled.loss_of(model), given)
    codec.from_json(TrainSpec, {**found, **given})
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
        (optimizers.RMSprop(momentum=0.9), {"optimizer": "rmsprop", "optimizer_settings": {"momentum": 0.9}}),
        (optimizers.Nadam(0.01), {"optimizer": "nadam", "learning_rate": 0.01, "optimizer_settings": {}}),
        (optimizers.Lion(1e-4, weight_decay=0.1), {"optimizer": "lion", "weight_decay": 0.1}),
        (optimizers.SGD(0.1, nesterov=True), {"optimizer": "sgd", "optimizer_settings": {"nesterov": True}}),
        (optimizers.Adam(beta_1=0.5, clipnorm=1), {"optimizer_settings": {"beta_1": 0.5, "clipnorm": 1.0}}),
    ],
)
def test_optimizer_and_rate_are_taken_over(optimizer: Any, expected: dict[str, Any]) -> None:
    found = fields(optimizer)
    assert expected.items() <= found.items()


def test_the_optimizer_of_the_trial_is_the_compiled_one() -> None:
    lion, nadam = optimizers.Lion(1e-4, beta_2=0.9), optimizers.Nadam(0.01, clipvalue=0.5)
    for given in (lion, nadam, optimizers.SGD(nesterov=True)):
        made = steps.make_optimizer(TrainSpec(**fields(given)))
        assert type(made) is type(given)
        assert made.get_config() | {"name": ""} == given.get_config() | {"name": ""}


def test_a_schedule_of_keras_gives_its_rate_to_every_step() -> None:
    given = optimizers.schedules.CosineDecay(0.1, decay_steps=20, warmup_target=0.5, warmup_steps=5)
    spec = TrainSpec(**fields(optimizers.Adam(given)), epochs=3)
    found = [schedule.learning_rates(spec, schedule.PlateauState(), epoch=epoch, n_steps=8) for epoch in range(3)]
    assert np.concatenate(found) == pytest.approx([float(given(step)) for step in range(24)])
    assert codec.from_json(TrainSpec, codec.to_json(spec)) == spec
    assert fields(optimizers.Adam(given), schedule="cosine")["learning_rate"] == 0.5


@pytest.mark.parametrize(
    ("loss", "gamma", "weights"),
    [
        ("binary_focal_crossentropy", 2.0, None),
        (keras.losses.BinaryFocalCrossentropy(gamma=3, apply_class_balancing=True, alpha=0.75), 3.0, [0.25, 0.75]),
        (keras.losses.CategoricalFocalCrossentropy(alpha=[0.2, 0.8], gamma=1.0), 1.0, [0.2, 0.8]),
    ],
)
def test_a_focal_loss_is_taken_over(loss: Any, gamma: float, weights: list[float] | None) -> None:
    found = fields("adam", loss)
    assert (found["focal_gamma"], found.get("class_weights")) == (gamma, weights)


def test_the_focal_loss_is_that_of_keras() -> None:
    logits, y = np.array([[-3.0], [0.2], [5.0], [-0.5]], np.float32), np.array([0, 1, 1, 1], np.float32)
    keras_losses = keras.losses.binary_focal_crossentropy(
        y[:, None], logits, gamma=1.5, from_logits=True, label_smoothing=0.1
    )
    weights = np.array([0.3, 0.7, 0.7, 0.7], np.float32)
    ours = weighted_loss(logits, y, weights, TrainSpec(focal_gamma=1.5, label_smoothing=0.1))
    assert float(ours) == pytest.approx(float(np.mean(np.asarray(keras_losses) * weights)), rel=1e-4)


def test_label_smoothing_is_taken_over() -> None:
    assert fields("adam", keras.losses.BinaryCrossentropy(label_smoothing=0.1))["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (optimizers.Ftrl(), "the optimizer Ftrl, known are SGD, Adam, AdamW, RMSprop"),
        (optimizers.SGD(0.1, use_ema=True), r"SGD\(use_ema=True\), which is False here"),
        (optimizers.Adam(Halving()), "the schedule Halving, which is not Keras' own"),
        (None, "isn't compiled: compile it, or give `learning_rate`"),
    ],
)
def test_what_can_t_be_taken_over_is_named(optimizer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fields(optimizer)


def test_what_is_given_anyway_is_not_asked_of_the_model() -> None:
    found = fields(optimizers.Ftrl(0.01), optimizer="adam")
    assert found == {"label_smoothing": 0.0, "focal_gamma": 0.0, "learning_rate": 0.01}
    schedule = optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert fields(optimizers.Adam(schedule), learning_rate=0.1)["optimizer"] == "adam"
    assert fields(None, optimizer="sgd", learning_rate=0.1) == {}
