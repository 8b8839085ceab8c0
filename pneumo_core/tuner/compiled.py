"""What a model was compiled with, as fields of `TrainSpec`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from pneumo_core.training import keras_schedule
from pneumo_core.training.steps import CLASSES

OPTIMIZERS = {cls: name for name, cls in CLASSES.items()}
CROSS_ENTROPIES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
FOCAL = ("binary_focal_crossentropy", "categorical_focal_crossentropy")
SETTINGS = ("nesterov", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "centered", "initial_accumulator_value")
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
_FOCAL_GAMMA, _FOCAL_ALPHA = 2.0, 0.25  # Keras' own defaults, of losses given by name


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a model."""

    name: str
    from_logits: bool = False
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    class_weights: tuple[float, float] | None = None  # that it gives to negative and positive itself


def loss_of(model: keras.Model) -> Loss | None:
    """Return the loss that `model` was compiled with, None without. Raises `ValueError` unless a cross-entropy."""
    given = model.loss if model.compiled else None
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if given is None:
        return None
    found = keras.losses.get(given) if isinstance(given, str) else given
    name = str(getattr(found, "name", None) or getattr(found, "__name__", type(found).__name__))
    if name not in (*CROSS_ENTROPIES, *FOCAL):
        raise ValueError(
            f"the model is compiled with the loss {name!r}, but training minimises the cross-entropy, weighted and "
            f"focal where asked for: use one of {', '.join((*CROSS_ENTROPIES, *FOCAL))}, and give class_weights="
            "(of negative, of positive) to from_keras_tuner for a weighted one"
        )
    return Loss(
        name=name,
        from_logits=bool(getattr(found, "from_logits", False)),
        label_smoothing=float(getattr(found, "label_smoothing", 0.0) or 0.0),
        focal_gamma=float(getattr(found, "gamma", _FOCAL_GAMMA)) if name in FOCAL else 0.0,
        class_weights=_own_weights(name, found),
    )


def _own_weights(name: str, loss: Any) -> tuple[float, float] | None:
    alpha = getattr(loss, "alpha", _FOCAL_ALPHA)
    if name == "binary_focal_crossentropy" and getattr(loss, "apply_class_balancing", False):
        return 1.0 - float(alpha), float(alpha)
    if name == "categorical_focal_crossentropy":
        negative, positive = alpha if isinstance(alpha, list | tuple) else (alpha, alpha)
        return float(negative), float(positive)
    return None


def train_fields(model: keras.Model, loss: Loss | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return optimizer, learning rate and what else the compiled model says of its training.

    `given` are fields that the caller sets anyway, so that nothing is wrong with what they replace. Raises `ValueError`
    naming an optimizer or a setting of it that `TrainSpec` doesn't have.
    """
    fields: dict[str, Any] = {}
    if loss is not None:
        fields = {"label_smoothing": loss.label_smoothing, "focal_gamma": loss.focal_gamma}
        fields |= {} if loss.class_weights is None else {"class_weights": list(loss.class_weights)}
    if not model.compiled:
        if missing := {"optimizer", "learning_rate"} - set(given):
            raise ValueError(
                f"the model isn't compiled: compile it, or give `{min(missing)}` to from_keras_tuner as well"
            )
        return fields
    if "learning_rate" not in given:
        fields |= _rate(model.optimizer, given)
    return fields if "optimizer" in given else {**fields, **_optimizer(model.optimizer)}


def _rate(optimizer: keras.Optimizer, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rate as it was written: 0.001, where Keras' float32 variable holds 0.0010000000474974513."""
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, int | float):
        return {"learning_rate": float(f"{rate:.7g}")}
    packed = keras_schedule.pack(optimizer._learning_rate)
    first = {"learning_rate": keras_schedule.first_rate(packed)}
    return first if "schedule" in given else {**first, "schedule": "keras", "keras_schedule": packed}


def _optimizer(optimizer: keras.Optimizer) -> dict[str, Any]:
    cls = type(optimizer).__name__
    if cls not in OPTIMIZERS:
        raise ValueError(
            f"the model is compiled with the optimizer {cls}, known are {', '.join(OPTIMIZERS)}; "
            "compile it with one of them, or give `optimizer` to from_keras_tuner"
        )
    config, default = optimizer.get_config(), type(optimizer)().get_config()
    name = OPTIMIZERS[cls]
    changed = {key: value for key, value in config.items() if value != default.get(key)}
    known = {"name", "learning_rate", "weight_decay", "momentum", *SETTINGS, *CLIPPING}
    for key in sorted(set(changed) - known):
        raise ValueError(
            f"the model is compiled with {cls}({key}={config[key]!r}), which is {default.get(key)!r} here; "
            "leave it out, or give `optimizer` to from_keras_tuner"
        )
    kept = (*SETTINGS, *CLIPPING, *(() if name == "sgd" else ("momentum",)))
    settings = {key: _plain(changed[key]) for key in kept if key in changed}
    decay = float(config.get("weight_decay") or 0.0)
    if name == "adam" and decay:
        name = "adamw"  # Keras' AdamW is Adam with a decay
    momentum = {"momentum": float(config["momentum"])} if name == "sgd" else {}
    return {"optimizer": name, **momentum, "weight_decay": decay, "optimizer_settings": settings}


def _plain(value: Any) -> float | bool:
    return value if isinstance(value, bool) else float(value)
