"""Training steps on JAX: the state travels through a jitted function and is donated to it."""

from collections.abc import Sequence
from typing import Any

import jax
import keras
import numpy as np

from pneumo_core.specs import AugmentSpec, TrainSpec
from pneumo_core.training import augment_jax
from pneumo_core.training.augment import Changes
from pneumo_core.training.batches import Chunk, Source
from pneumo_core.training.loss import average_decay, batched, logit_model, weighted_loss
from pneumo_core.training.norms import Statistics, of_one_batch

HELD_SHARE = 0.25  # of the device's memory that the training images may take; the rest is for feature maps
HELD_BYTES = 2**29  # where the device doesn't say how much it has, as the CPU

State = tuple[list[Any], list[Any], list[Any], list[Any]]  # trainable, not trainable, optimizer, averages


class JaxSteps:
    """See `steps.Steps`."""

    def __init__(
        self, model: keras.Model, optimizer: keras.Optimizer, spec: TrainSpec, rate_factors: Sequence[float]
    ) -> None:
        self._network, self._optimizer = logit_model(model), optimizer
        self._spec, self._rate_factors = spec, rate_factors
        self._rate_at = [v is optimizer.learning_rate for v in optimizer.variables].index(True)
        self._iterations_at = [v is optimizer.iterations for v in optimizer.variables].index(True)
        # XLA runs the convolutions of a loop on one CPU thread, by slow code: measured 20 to 30 times slower.
        self._fused = len(model.input_shape) == 2 or jax.default_backend() != "cpu"
        self._train = jax.jit(self._train_steps if self._fused else self._step, donate_argnums=0)
        self._predict = jax.jit(self._scores)
        self._loss_sum: Any = np.float32(0)
        self._n_steps = 0
        self._state = self._copied_state()
        self.set_averages(self._state[0] if spec.average else [])
        self._observe = jax.jit(self._fixed_after_training)
        self._train_held = jax.jit(self._held_steps, donate_argnums=0)
        self._held: tuple[Any, ...] = ()  # images (n, h, w, c), labels, and the weight of each label
        self._augment, self._flat = spec.augment, len(model.input_shape) == 2
        self._batch = jax.jit(self._shown)

    def hold(self, source: Source) -> bool:
        if not self._fused or source.x.nbytes > _room_bytes():
            return False
        if not source.augment.is_identity and (source.open_changed or not changes_images(source.augment, source.x)):
            return False
        if not self._held:
            labels, weights = source.y.astype(np.float32), np.asarray(source.class_weight, np.float32)
            self._held = tuple(map(jax.device_put, (np.ascontiguousarray(source.x), labels, weights)))
        return True

    def train_rows(self, rows: np.ndarray, changes: Changes | None, rates: np.ndarray) -> None:
        shown = (rows, vars(changes) if changes else None)
        self._state, self._loss_sum = self._train_held(self._state, self._loss_sum, self._held, shown, rates)
        self._n_steps += len(rows)

    def held(self, rows: np.ndarray, changes: Changes | None) -> Any:
        return self._batch(self._held[0], rows, vars(changes) if changes else None)

    def train(self, chunk: Chunk, rates: np.ndarray) -> None:
        values = (chunk.x, chunk.y, chunk.sample_weight)
        if self._fused:
            room = np.zeros(len(chunk.x), np.float32)
            room[: chunk.n_steps] = rates
            self._state, self._loss_sum = self._train(self._state, self._loss_sum, (*values, room), chunk.n_steps)
        else:
            for batch in zip(*(array[: chunk.n_steps] for array in values), rates, strict=True):
                self._state, self._loss_sum = self._train(self._state, self._loss_sum, batch)
        self._n_steps += chunk.n_steps

    def take_loss(self) -> float:
        mean = float(self._loss_sum) / self._n_steps if self._n_steps else float("nan")
        self._loss_sum, self._n_steps = np.float32(0), 0
        return mean

    def predict(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        scores = [self._predict(self._state[0], self._state[1], part) for part, _ in batched(x, batch_size)]
        return np.concatenate([np.asarray(part) for part in scores])[: len(x)]

    def batch_statistics(self, x: np.ndarray, norms: Sequence[keras.layers.BatchNormalization]) -> Statistics:
        place = {id(variable): i for i, variable in enumerate(self._network.non_trainable_variables)}
        with of_one_batch(norms):  # in effect when the first call traces
            fixed = self._observe(self._state[0], self._state[1], x)
        kept = [(norm.moving_mean, norm.moving_variance) for norm in norms]
        return [(np.asarray(fixed[place[id(mean)]]), np.asarray(fixed[place[id(var)]])) for mean, var in kept]

    def averages(self) -> list[np.ndarray]:
        return [np.asarray(average) for average in self._state[3]]

    def set_averages(self, values: Sequence[np.ndarray]) -> None:
        self._state = (*self._state[:3], [jax.numpy.array(value) for value in values])

    def synchronize(self) -> None:
        for variables, values in zip(self._variables(), self._state[:3], strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(jax.numpy.array(value))  # a copy: the step consumes the buffers of its state

    def reload(self) -> None:
        self._state = (*self._copied_state()[:3], self._state[3])

    def _copied_state(self) -> State:
        trainable, fixed, optimizer = (
            [jax.numpy.array(variable.value) for variable in group] for group in self._variables()
        )
        return trainable, fixed, optimizer, []

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        network = self._network
        return network.trainable_variables, network.non_trainable_variables, self._optimizer.variables

    def _train_steps(self, state: State, loss_sum: Any, batches: Any, n_steps: Any) -> Any:
        def step(i: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            return self._step(carry[0], carry[1], [values[i] for values in batches])

        return jax.lax.fori_loop(0, n_steps, step, (state, loss_sum))

    def _held_steps(self, state: State, loss_sum: Any, held: Any, shown: Any, rates: Any) -> Any:
        x, y, weights = held

        def step(i: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            rows, changes = jax.tree.map(lambda values: values[i], shown)
            labels = y[rows]
            batch = (self._shown(x, rows, changes), labels, weights[labels.astype("int32")], rates[i])
            return self._step(carry[0], carry[1], batch)

        return jax.lax.fori_loop(0, len(rates), step, (state, loss_sum))

    def _shown(self, images: Any, rows: Any, changes: Any) -> Any:
        x = images[rows]
        if changes is not None:
            x = augment_jax.apply(self._augment, x, Changes(**changes))
        return x.reshape(len(x), -1) if self._flat else x

    def _step(self, state: State, loss_sum: Any, batch: Any) -> tuple[State, Any]:
        (trainable, fixed, optimizer, averages), (x, y, sample_weight, rate) = state, batch
        (loss, fixed), gradients = jax.value_and_grad(self._loss, has_aux=True)(trainable, fixed, x, y, sample_weight)
        optimizer = [rate if i == self._rate_at else value for i, value in enumerate(optimizer)]
        updated, optimizer = self._optimizer.stateless_apply(optimizer, gradients, trainable)
        trainable = [  # slowed, its decoupled weight decay included
            new if factor == 1 else old + factor * (new - old)
            for old, new, factor in zip(trainable, updated, self._rate_factors, strict=True)
        ]
        if averages:
            decay = average_decay(self._spec.average, optimizer[self._iterations_at])
            pairs = zip(averages, trainable, strict=True)
            averages = [decay * average + (1 - decay) * value for average, value in pairs]
        return (trainable, list(fixed), list(optimizer), averages), loss_sum + loss

    def _loss(self, trainable: Any, fixed: Any, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
        logits, fixed, losses = self._network.stateless_call(trainable, fixed, x, training=True, return_losses=True)
        return weighted_loss(logits, y, sample_weight, self._spec) + sum(losses), fixed

    def _fixed_after_training(self, trainable: Any, fixed: Any, x: Any) -> Any:
        return self._network.stateless_call(trainable, fixed, x, training=True)[1]

    def _scores(self, trainable: Any, fixed: Any, x: Any) -> Any:
        logits, _ = self._network.stateless_call(trainable, fixed, x, training=False)
        return jax.nn.sigmoid(logits[:, 0])


def changes_images(augment: AugmentSpec, x: np.ndarray) -> bool:
    """Return whether this device holds images `x` and changes them as `augment` says; on a CPU Pillow does that."""
    if jax.default_backend() == "cpu" or x.nbytes > _room_bytes():
        return False
    return augment_jax.serves(augment, x.shape[1:])


def _room_bytes() -> float:
    """Return how much the images may take on the device."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return HELD_SHARE * limit if limit else HELD_BYTES
