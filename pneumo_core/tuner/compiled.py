"""What a model was compiled with, as fields of `TrainSpec`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop"}
LOSSES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
TRANSLATED = {
    "SGD": {"name", "learning_rate", "momentum", "weight_decay"},
    "Adam": {"name", "learning_rate", "weight_decay"},
    "AdamW": {"name", "learning_rate", "weight_decay"},
    "RMSprop": {"name", "learning_rate"},
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a model."""

    name: str
    from_logits: bool = False
    label_smoothing: float = 0.0


def loss_of(model: keras.Model) -> Loss | None:
    """Return the loss that `model` was compiled with, None without. Raises `ValueError` unless a cross-entropy."""
    given = model.loss if model.compiled else None
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if given is None:
        return None
    found = keras.losses.get(given) if isinstance(given, str) else given
    name = str(getattr(found, "name", None) or getattr(found, "__name__", type(found).__name__))
    if name not in LOSSES:
        raise ValueError(
            f"the model is compiled with the loss {name!r}, but training minimises the cross-entropy: "
            f"use one of {', '.join(LOSSES)}"
        )
    return Loss(
        name=name,
        from_logits=bool(getattr(found, "from_logits", False)),
        label_smoothing=float(getattr(found, "label_smoothing", 0.0) or 0.0),
    )


def train_fields(model: keras.Model, loss: Loss | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return optimizer, learning rate and what else the compiled model says of its training.

    `given` are fields that the caller sets anyway, so that nothing is wrong with what they replace. Raises `ValueError`
    naming an optimizer or a setting of it that `TrainSpec` doesn't have.
    """
    fields = {"label_smoothing": loss.label_smoothing} if loss else {}
    if not model.compiled:
        if missing := {"optimizer", "learning_rate"} - set(given):
            raise ValueError(
                f"the model isn't compiled: compile it, or give `{min(missing)}` to from_keras_tuner as well"
            )
        return fields
    if "learning_rate" not in given:
        fields["learning_rate"] = _learning_rate(model.optimizer)
    return fields if "optimizer" in given else {**fields, **_optimizer(model.optimizer)}


def _learning_rate(optimizer: keras.Optimizer) -> float:
    """Return the rate as it was written: 0.001, where Keras' float32 variable holds 0.0010000000474974513."""
    rate = optimizer.get_config()["learning_rate"]
    if not isinstance(rate, int | float):
        raise ValueError(
            "the model is compiled with a learning-rate schedule: compile it with a number, and give "
            "`schedule` ('constant', 'plateau' or 'cosine') to from_keras_tuner"
        )
    return float(f"{rate:.7g}")


def _optimizer(optimizer: keras.Optimizer) -> dict[str, Any]:
    cls = type(optimizer).__name__
    if cls not in OPTIMIZERS:
        raise ValueError(
            f"the model is compiled with the optimizer {cls}, known are {', '.join(OPTIMIZERS)}; "
            "compile it with one of them, or give `optimizer` to from_keras_tuner"
        )
    config, default = optimizer.get_config(), type(optimizer)().get_config()
    for key in sorted(set(config) - TRANSLATED[cls]):
        if config[key] != default.get(key):
            raise ValueError(
                f"the model is compiled with {cls}({key}={config[key]!r}), which is {default.get(key)!r} here; "
                "leave it out, or give `optimizer` to from_keras_tuner"
            )
    decay = float(config.get("weight_decay") or 0.0)
    name = "adamw" if cls == "Adam" and decay else OPTIMIZERS[cls]  # Keras' AdamW is Adam with a decay
    momentum = {"momentum": float(config["momentum"])} if name == "sgd" else {}
    return {"optimizer": name, **momentum, "weight_decay": decay}
