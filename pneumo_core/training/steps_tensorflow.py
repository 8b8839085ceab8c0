"""Training steps on TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pneumo_core.specs import TrainSpec
from pneumo_core.training.activations import fused
from pneumo_core.training.augment import Changes
from pneumo_core.training.batches import Chunk, Source
from pneumo_core.training.depthwise import fast_kernel_gradients
from pneumo_core.training.loss import average_decay, batched, logit_model, weighted_loss
from pneumo_core.training.norms import Statistics, of_one_batch

HELD_BYTES = 2**30  # that the training images may take on the device, which does not say how much it has


class TensorFlowSteps:
    """See `steps.Steps`."""

    def __init__(
        self, model: keras.Model, optimizer: keras.Optimizer, spec: TrainSpec, rate_factors: Sequence[float]
    ) -> None:
        self._network, self._optimizer = logit_model(model), optimizer
        self._spec, self._rate_factors = spec, rate_factors
        averaged = self._network.trainable_variables if spec.average else []
        self._averages = [tf.Variable(variable.value, trainable=False) for variable in averaged]
        self._loss_sum = tf.Variable(0.0, trainable=False)
        self._n_steps = 0
        self._train: Any = None
        self._train_held: Any = None
        self._held: tuple[Any, ...] = ()  # images, labels, and the weight of each label
        self._predict: Any = None
        self._observe: Any = None

    def train(self, chunk: Chunk, rates: np.ndarray) -> None:
        room = np.zeros(len(chunk.x), np.float32)
        room[: chunk.n_steps] = rates
        values = (chunk.x, chunk.y, chunk.sample_weight, room, np.int32(chunk.n_steps))
        tensors = [tf.constant(value) for value in values]
        self._train = self._train or self._traced(self._train_steps, tensors)
        self._train(*tensors)
        self._n_steps += chunk.n_steps

    def hold(self, source: Source) -> bool:
        if not _is_accelerated() or not source.augment.is_identity or source.x.nbytes > HELD_BYTES:
            return False
        if not self._held:
            x = source.x.reshape(len(source.x), -1) if source.flat else source.x
            labels, weights = source.y.astype(np.float32), np.asarray(source.class_weight, np.float32)
            self._held = tuple(tf.constant(values) for values in (x, labels, weights))
        return True

    def train_rows(self, rows: np.ndarray, changes: Changes | None, rates: np.ndarray) -> None:
        assert changes is None
        tensors = [tf.constant(rows), tf.constant(rates)]
        self._train_held = self._train_held or self._traced(self._held_steps, tensors)
        self._train_held(*tensors)
        self._n_steps += len(rows)

    def held(self, rows: np.ndarray, changes: Changes | None) -> Any:
        return tf.gather(self._held[0], rows)

    def take_loss(self) -> float:
        mean = float(self._loss_sum.numpy()) / self._n_steps if self._n_steps else float("nan")
        self._loss_sum.assign(0.0)
        self._n_steps = 0
        return mean

    def predict(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        scores = []
        for part, n in batched(x, batch_size):
            tensor = tf.constant(part)
            self._predict = self._predict or self._traced(self._scores, [tensor])
            scores.append(self._predict(tensor)[:n].numpy())
        return np.concatenate(scores)

    def batch_statistics(self, x: np.ndarray, norms: Sequence[keras.layers.BatchNormalization]) -> Statistics:
        tensor = tf.constant(x)
        if self._observe is None:
            with of_one_batch(norms):
                self._observe = self._traced(self._forward_in_training, [tensor])
        self._observe(tensor)
        return [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]

    def averages(self) -> list[np.ndarray]:
        return [average.numpy() for average in self._averages]

    def set_averages(self, values: Sequence[np.ndarray]) -> None:
        for average, value in zip(self._averages, values, strict=True):
            average.assign(value)

    def synchronize(self) -> None:
        """Do nothing: TensorFlow trains the Keras variables themselves."""

    def reload(self) -> None:
        """Do nothing: see `synchronize`."""

    def _traced(self, function: Callable[..., Any], tensors: Sequence[tf.Tensor]) -> Any:
        with fused(self._network), fast_kernel_gradients(self._network):
            return traced(function, tensors)

    def _scores(self, x: Any) -> Any:
        return tf.sigmoid(self._network(x, training=False)[:, 0])

    def _forward_in_training(self, x: Any) -> None:
        self._network(x, training=True)

    def _train_steps(self, x: Any, y: Any, sample_weight: Any, rates: Any, n_steps: Any) -> None:
        if x.shape[0] == 1:
            self._step(x[0], y[0], sample_weight[0], rates[0])
        else:
            tf.while_loop(
                lambda i: i < n_steps,
                lambda i: self._counted_step(i, x[i], y[i], sample_weight[i], rates[i]),
                [tf.constant(0)],
                parallel_iterations=1,
            )

    def _held_steps(self, rows: Any, rates: Any) -> None:
        x, y, weights = self._held

        def step(i: Any) -> Any:
            labels = tf.gather(y, rows[i])
            batch = (tf.gather(x, rows[i]), labels, tf.gather(weights, tf.cast(labels, tf.int32)))
            return self._counted_step(i, *batch, rates[i])

        tf.while_loop(lambda i: i < rows.shape[0], step, [tf.constant(0)], parallel_iterations=1)

    def _counted_step(self, i: Any, *batch: Any) -> Any:
        self._step(*batch)
        return [i + 1]

    def _step(self, x: Any, y: Any, sample_weight: Any, rate: Any) -> None:
        variables = self._network.trainable_variables
        with tf.GradientTape() as tape:
            loss = weighted_loss(self._network(x, training=True), y, sample_weight, self._spec)
            loss += sum(self._network.losses)  # L2 of the kernels
        self._optimizer.learning_rate.assign(rate)
        factors = zip(variables, self._rate_factors, strict=True)
        slowed = [(variable, factor, tf.identity(variable)) for variable, factor in factors if factor != 1]
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        for variable, factor, before in slowed:  # its decoupled weight decay included
            variable.assign(before + factor * (variable - before))
        if self._averages:
            decay = average_decay(self._spec.average, self._optimizer.iterations)
            for average, variable in zip(self._averages, variables, strict=True):
                average.assign(decay * average + (1 - decay) * variable)
        self._loss_sum.assign_add(loss)


def _is_accelerated() -> bool:
    """Return whether training runs on a GPU; on a CPU a chunk is handed over without a copy across a bus."""
    return bool(tf.config.list_physical_devices("GPU"))


def traced(function: Callable[..., Any], tensors: Sequence[tf.Tensor]) -> Any:
    """Return `function` traced once, for arguments like `tensors`.

    Without XLA, which is slower on the CPU. A concrete function refuses other shapes where `tf.function` would
    silently trace again, and skips the comparison of signatures in every call.
    """
    return tf.function(function, jit_compile=False).get_concrete_function(*tensors)
