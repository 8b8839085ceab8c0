"""The training and prediction steps, one implementation per backend behind one interface.

`Model.fit` is not used: it hides the order of the data, retraces, computes metrics inside the step and costs
more per step than a small network does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from pneumo_core.specs import AugmentSpec, Optimizer, TrainSpec
from pneumo_core.training.augment import Changes
from pneumo_core.training.batches import Chunk, Source
from pneumo_core.training.norms import Statistics

CLASSES: Mapping[Optimizer, str] = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "nadam": "Nadam",
    "lion": "Lion",
    "adamax": "Adamax",
    "adagrad": "Adagrad",
}
"""Of `keras.optimizers`."""


class Steps(Protocol):
    """A model in training. Weights, optimizer and random state change in place."""

    def train(self, chunk: Chunk, rates: np.ndarray) -> None:
        """Take the chunk's steps, with learning rates `rates` (n_steps,) float32."""

    def hold(self, source: Source) -> bool:
        """Keep the training images on the device where that pays. Return whether `train_rows` can be used.

        Images that a trial changes are held where the device can change them: on accelerators, under JAX.
        """

    def train_rows(self, rows: np.ndarray, changes: Changes | None, rates: np.ndarray) -> None:
        """Take the steps on these `rows` (n_steps, b) int32 of the held images, with `rates` (n_steps,) float32.

        `changes` are what `hold` was asked for: fields (n_steps, b, ...), None where images are shown as they are.
        """

    def held(self, rows: np.ndarray, changes: Changes | None) -> Any:
        """Return a batch of the held images, (b, ...) uint8 on the device, as `train_rows` trains on it."""

    def take_loss(self) -> float:
        """Return the mean loss of the steps since the last call (NaN without any)."""

    def predict(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the scores of `x` (n, ...) uint8, float32 (n,)."""

    def batch_statistics(self, x: np.ndarray, norms: Sequence[keras.layers.BatchNormalization]) -> Statistics:
        """Return what each of `norms`, the same in every call, gets to normalise in the one training batch `x`."""

    def averages(self) -> list[np.ndarray]:
        """Return the moving averages of the trainable variables; empty where none are asked for."""

    def set_averages(self, values: Sequence[np.ndarray]) -> None:
        """Take over moving averages, after somebody restored or began them anew."""

    def synchronize(self) -> None:
        """Bring the Keras variables up to date, before somebody reads them."""

    def reload(self) -> None:
        """Take over the Keras variables, after somebody wrote them."""


def make_steps(
    model: keras.Model, optimizer: keras.Optimizer, spec: TrainSpec, rate_factors: Sequence[float] | None = None
) -> Steps:
    """Return the steps of the running backend for `model`, and build `optimizer` for it.

    `rate_factors` are those of the learning rate, one a trainable variable of `model`; without them all are 1.
    """
    factors = rate_factors or [1.0] * len(model.trainable_variables)
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from pneumo_core.training.steps_tensorflow import TensorFlowSteps

        return TensorFlowSteps(model, optimizer, spec, factors)
    if backend == "jax":
        from pneumo_core.training.steps_jax import JaxSteps

        return JaxSteps(model, optimizer, spec, factors)
    raise ValueError(f"`KERAS_BACKEND` must be 'tensorflow' or 'jax', got {backend!r}")


def device_changes(augment: AugmentSpec, x: np.ndarray) -> bool:
    """Return whether an accelerator holds images `x` (n, h, w, c) and changes them by itself; under JAX it may."""
    if augment.is_identity or keras.backend.backend() != "jax":
        return False
    from pneumo_core.training.steps_jax import changes_images

    return changes_images(augment, x)


def make_optimizer(spec: TrainSpec) -> keras.Optimizer:
    """Return the optimizer of `spec`. Its rate is set in every step, so the one given here is never used."""
    settings: dict[str, Any] = dict(spec.optimizer_settings)
    if spec.optimizer == "sgd":
        settings["momentum"] = spec.momentum
    if spec.optimizer != "adam":
        settings["weight_decay"] = spec.weight_decay or (0.0 if spec.optimizer == "adamw" else None)
    optimizer = getattr(keras.optimizers, CLASSES[spec.optimizer])(spec.learning_rate, **settings)
    if spec.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
