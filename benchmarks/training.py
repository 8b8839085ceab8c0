"""Epochs of this project beside `model.fit` of the usual script and a bare loop in the same backend, at 64 px.

    python -m benchmarks.training FOLDER [--networks 4] [--images 1024] [--repeats 5] [--json FILE]
    python -m benchmarks.training FOLDER --backends

All sides train the same Keras network from the same weights, in batches of 64, with Adam at the same constant rate,
balanced class weights, no augmentation, and score the validation images after each epoch. `fit` gets NumPy arrays,
`validation_data` and a Keras AUC; the bare loop a `tf.function` (on JAX a jitted) step over arrays that lie ready as
float32. The sides take one epoch each in turn; the first, which traces, is left out. Times are of whole epochs,
training and validation; AUC and partial AUC are the best of all epochs. The networks are a plain one and the first
that the space of the study `cnn` draws. All sides have the environment of a trainer: oneDNN is on, which TensorFlow by
itself leaves off on processors with AVX2 only (`TF_ENABLE_ONEDNN_OPTS=0` shows that). `--backends` compares TensorFlow
with JAX under this project's epochs instead, each in a process of its own.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core.data.dataset import scan
from pneumo_core.data.preprocess import FitArrays, open_fit_arrays, prepare
from pneumo_core.data.split import assign_roles
from pneumo_core.scoring.metrics import auc, pauc
from pneumo_core.specs import CnnSpec, DataSpec, ModelSpec, ObjectiveSpec, Precision, SplitSpec, TrainSpec
from search.executors import devices
from spaces.base import Recorder
from studies.cnn import space

BATCH, RATE, SEED = 64, 1e-3, 0
PLAIN = CnnSpec(units=(32,))  # three convolutions of 16, 32 and 64 filters: what most scripts begin with
BACKENDS = ("tensorflow", "jax")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch took and how good the network then was."""

    seconds: float
    auc: float
    pauc: float


AfterEpoch = Callable[[Epoch], None]
Train = Callable[[ModelSpec, FitArrays, int, AfterEpoch], None]  # for so many epochs


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("folder", type=Path, help="in the Kaggle layout, or phantom")
    parser.add_argument("--networks", type=int, default=4, help="drawn from the space, beside the plain one")
    parser.add_argument("--images", type=int, default=1024, help="to train on; a quarter as many to validate")
    parser.add_argument("--backends", action="store_true")
    parser.add_argument("--only-ours", action="store_true", help="one side, in the backend of KERAS_BACKEND")
    asked = parser.parse_args()
    if asked.backends:
        _compare_backends(asked)
        return
    os.environ.update(devices.common_environment(None))
    from pneumo_core.training.trial import environment

    arrays = read(asked.folder, asked.images)
    sides = {"ours": ours("float32")} if asked.only_ours else SIDES
    found = {name: measured(sides, spec, arrays, asked.repeats) for name, spec in drawn(asked.networks).items()}
    title = f"{len(arrays.x_train)} images to train on, {len(arrays.x_validation)} to validate"
    networks = {name: str(spec) for name, spec in drawn(asked.networks).items()}
    where = measure.machine() | environment()
    rows = summarised(found, len(arrays.x_train))
    measure.publish(title, rows, environment=where, file=asked.json, networks=networks)


def drawn(n_networks: int) -> dict[str, ModelSpec]:
    """Return the plain network and the first `n_networks` that the space draws."""
    return {"plain": PLAIN} | {f"drawn {seed}": space(Recorder(seed=seed)).model for seed in range(n_networks)}


def read(folder: Path, n_images: int) -> FitArrays:
    """Return arrays at 64 px of some rows of both roles of this project's split."""
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as cache:
        manifest = scan(folder, cache_dir=Path(cache))
        split = assign_roles(manifest, SplitSpec())
        mapped = open_fit_arrays(prepare(manifest, split, DataSpec(), cache_dir=Path(cache)))
        train = rng.permutation(len(mapped.x_train))[:n_images]
        validation = rng.permutation(len(mapped.x_validation))[: max(16, n_images // 4)]
        return FitArrays(
            x_train=np.array(mapped.x_train[train]),
            y_train=np.array(mapped.y_train[train]),
            groups_train=mapped.groups_train[train],
            x_validation=np.array(mapped.x_validation[validation]),
            y_validation=np.array(mapped.y_validation[validation]),
            groups_validation=mapped.groups_validation[validation],
        )


def measured(
    sides: Mapping[str, Train], spec: ModelSpec, arrays: FitArrays, n_repeats: int
) -> dict[str, tuple[Epoch, ...]]:
    """Return the epochs of each side after its first, taken in turn."""
    running = {
        name: Running(train=train, spec=spec, arrays=arrays, n_epochs=1 + n_repeats) for name, train in sides.items()
    }
    for side in running.values():
        side.epoch()
    measure.in_turn({name: side.epoch_s for name, side in running.items()}, n_repeats)
    return {name: tuple(side.epochs[1:]) for name, side in running.items()}


def summarised(found: Mapping[str, Mapping[str, tuple[Epoch, ...]]], n_images: int) -> list[Row]:
    """Return throughput by network and side, then over all networks the ratios and the quality."""
    rows = []
    for network, sides in found.items():
        for side, epochs in sides.items():
            speeds = tuple(n_images / epoch.seconds for epoch in epochs)
            rows.append(Row(name=f"{network}: {side}", values=speeds, unit="images/s"))
    names = list(next(iter(found.values())))
    for ours_name in (name for name in names if name.startswith("ours")):
        for other in (name for name in names if not name.startswith("ours")):
            values = [r for sides in found.values() for r in measure.ratios(_s(sides[other]), _s(sides[ours_name]))]
            rows.append(Row(name=f"speed of {ours_name} ÷ {other}", values=tuple(values), unit="times"))
    for metric in ("auc", "pauc"):
        for name in names:
            best = tuple(max(getattr(epoch, metric) for epoch in sides[name]) for sides in found.values())
            rows.append(Row(name=f"{metric} of {name}", values=best, unit="best epoch of each network"))
    return rows


def _s(epochs: tuple[Epoch, ...]) -> list[float]:
    return [epoch.seconds for epoch in epochs]


@dataclass
class Running:
    """One side training one network, in a thread that waits for its turn between two epochs."""

    train: Train
    spec: ModelSpec
    arrays: FitArrays
    n_epochs: int
    epochs: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._go: queue.Queue[None] = queue.Queue()
        self._done: queue.Queue[BaseException | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def epoch(self) -> Epoch:
        """Let it take one epoch."""
        self._go.put(None)
        error = self._done.get()
        if error is not None:
            raise error
        if len(self.epochs) == self.n_epochs:
            self._thread.join()  # what follows the last epoch is not to run beside another side, nor into the exit
        return self.epochs[-1]

    def epoch_s(self) -> float:
        return self.epoch().seconds

    def _work(self) -> None:
        try:
            self._go.get()
            self.train(self.spec, self.arrays, self.n_epochs, self._pause)
        except BaseException as error:
            self._done.put(error)

    def _pause(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self._done.put(None)
        if len(self.epochs) < self.n_epochs:
            self._go.get()


def ours(precision: Precision) -> Train:
    """Return this project's training."""

    def train_ours(spec: ModelSpec, arrays: FitArrays, n_epochs: int, after_epoch: AfterEpoch) -> None:
        from pneumo_core.training import train
        from pneumo_core.training.task import Task

        network, clock = _built(spec, precision), Clock()

        def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
            after_epoch(Epoch(seconds=clock.lap_s(), auc=metrics["auc"], pauc=metrics["pauc"]))
            clock.start()
            return False

        settings = TrainSpec(
            epochs=n_epochs,
            patience=n_epochs,
            batch_size=BATCH,
            learning_rate=RATE,
            schedule="constant",
            precision=precision,
        )
        clock.start()
        train.fit(
            network,
            Task(
                spec=settings,
                objective=ObjectiveSpec(),
                arrays=arrays,
                seed=SEED,
                identity="benchmark",
                on_epoch=on_epoch,
            ),
        )

    return train_ours


def model_fit(spec: ModelSpec, arrays: FitArrays, n_epochs: int, after_epoch: AfterEpoch) -> None:
    """Train as the usual script does."""
    import keras

    network, clock = _built(spec, "float32"), Clock()
    x, x_validation = arrays.x_train.astype("float32"), arrays.x_validation.astype("float32")
    y, y_validation = arrays.y_train.astype("float32"), arrays.y_validation.astype("float32")

    class Pause(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            clock.start()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds = clock.lap_s()
            after_epoch(_judged(seconds, arrays, np.asarray(network.predict_on_batch(x_validation))[:, 0]))

    network.compile(keras.optimizers.Adam(RATE), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    network.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=n_epochs,
        validation_data=(x_validation, y_validation),
        class_weight=dict(enumerate(_class_weight(arrays))),
        callbacks=[Pause()],
        verbose=0,
    )


def bare_loop(spec: ModelSpec, arrays: FitArrays, n_epochs: int, after_epoch: AfterEpoch) -> None:
    """Train by a loop of a few lines over arrays that lie ready: the limit of this backend."""
    import keras

    network = _built(spec, "float32")
    from pneumo_core.training.loss import logit_model

    network, optimizer, clock = logit_model(network), keras.optimizers.Adam(RATE), Clock()
    optimizer.build(network.trainable_variables)
    step, scores = loop_of_backend()(network, optimizer, arrays)
    rng, n = np.random.default_rng(SEED), len(arrays.x_train)
    for _ in range(n_epochs):
        clock.start()
        order = np.resize(rng.permutation(n), -(-n // BATCH) * BATCH).astype(np.int32)
        for rows in order.reshape(-1, BATCH):
            step(rows)
        after_epoch(_judged_now(clock, arrays, scores()))


SIDES: dict[str, Train] = {
    "ours, float32": ours("float32"),
    "ours, mixed_bfloat16": ours("mixed_bfloat16"),
    "model.fit": model_fit,
    "bare loop": bare_loop,
}


Loop = Callable[[Any, Any, FitArrays], tuple[Callable[..., Any], Callable[[], Any]]]


def loop_of_backend() -> Loop:
    """Return what makes a step on rows of images that lie ready, and the scores of the validation images."""
    import keras

    return _tensorflow_loop if keras.backend.backend() == "tensorflow" else _jax_loop


def _tensorflow_loop(network: Any, optimizer: Any, arrays: FitArrays) -> tuple[Callable[..., Any], Callable[[], Any]]:
    import tensorflow as tf

    x, x_validation = (tf.constant(a.astype(np.float32)) for a in (arrays.x_train, arrays.x_validation))
    y, weight = tf.constant(arrays.y_train.astype(np.float32)), tf.constant(_class_weight(arrays), tf.float32)

    @tf.function  # type: ignore[untyped-decorator]
    def step(rows: Any) -> None:
        labels = tf.gather(y, rows)
        with tf.GradientTape() as tape:
            logits = network(tf.gather(x, rows), training=True)[:, 0]
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits) * tf.gather(
                weight, tf.cast(labels, tf.int32)
            )
            loss = tf.reduce_mean(losses) + sum(network.losses)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function  # type: ignore[untyped-decorator]
    def part(images: Any) -> Any:
        return tf.sigmoid(network(images, training=False)[:, 0])

    starts = range(0, len(arrays.x_validation), BATCH)
    return step, lambda: np.concatenate([part(x_validation[start : start + BATCH]).numpy() for start in starts])


def _jax_loop(network: Any, optimizer: Any, arrays: FitArrays) -> tuple[Callable[..., Any], Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    x, x_validation = (jnp.asarray(a, jnp.float32) for a in (arrays.x_train, arrays.x_validation))
    y, weight = jnp.asarray(arrays.y_train, jnp.float32), jnp.asarray(_class_weight(arrays), jnp.float32)
    groups = (network.trainable_variables, network.non_trainable_variables, optimizer.variables)
    state = [[jnp.array(variable.value) for variable in group] for group in groups]

    def loss(trainable: Any, fixed: Any, rows: Any) -> Any:
        logits, fixed, losses = network.stateless_call(trainable, fixed, x[rows], training=True, return_losses=True)
        logits, labels = logits[:, 0], y[rows]
        costs = (jax.nn.softplus(logits) - logits * labels) * weight[labels.astype(int)]
        return costs.mean() + sum(losses), fixed

    @jax.jit  # type: ignore[untyped-decorator]
    def stepped(trainable: Any, fixed: Any, optimizing: Any, rows: Any) -> Any:
        (_, fixed), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, fixed, rows)
        trainable, optimizing = optimizer.stateless_apply(optimizing, gradients, trainable)
        return trainable, fixed, optimizing

    @jax.jit  # type: ignore[untyped-decorator]
    def scored(trainable: Any, fixed: Any) -> Any:
        return jax.nn.sigmoid(network.stateless_call(trainable, fixed, x_validation, training=False)[0][:, 0])

    def step(rows: Any) -> None:
        state[:] = stepped(*state, rows)

    return step, lambda: np.asarray(scored(state[0], state[1]))


class Clock:
    """Seconds since it was started."""

    def start(self) -> None:
        self._began_s = time.perf_counter()

    def lap_s(self) -> float:
        return time.perf_counter() - self._began_s


def _built(spec: ModelSpec, precision: Precision) -> Any:
    """Return the network with the same first weights on every side."""
    from pneumo_core.models import model
    from pneumo_core.seeds import seed_everything

    seed_everything(SEED)
    return model.build(spec, DataSpec().shape, precision)


def _judged_now(clock: Clock, arrays: FitArrays, scores: np.ndarray) -> Epoch:
    return _judged(clock.lap_s(), arrays, scores)


def _judged(seconds: float, arrays: FitArrays, scores: np.ndarray) -> Epoch:
    y, ceiling = arrays.y_validation, ObjectiveSpec().fnr_ceiling
    return Epoch(seconds=seconds, auc=auc(y, scores), pauc=pauc(y, scores, ceiling))


def _class_weight(arrays: FitArrays) -> tuple[float, float]:
    from pneumo_core.training import batches

    return batches.class_weight(TrainSpec(), arrays.y_train)


def _compare_backends(asked: Namespace) -> None:
    """Measure each backend in processes of its own, which take turns."""
    command = [sys.executable, "-m", "benchmarks.training", str(asked.folder), "--only-ours", "--repeats", "2"]
    command += ["--networks", str(asked.networks), "--images", str(asked.images), "--json"]
    speeds: dict[str, list[float]] = {}
    for repetition in range(asked.repeats):
        for backend in BACKENDS if repetition % 2 == 0 else BACKENDS[::-1]:
            for row in _in_backend(command, backend):
                if row["unit"] == "images/s":
                    speeds.setdefault(f"{row['name'].split(':')[0]}: {backend}", []).append(row["median"])
    rows = [Row(name=name, values=tuple(values), unit="images/s") for name, values in sorted(speeds.items())]
    measure.publish("Backends", rows, environment=measure.machine(), file=asked.json)


def _in_backend(command: list[str], backend: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        environment = {**os.environ, "KERAS_BACKEND": backend}
        subprocess.run([*command, str(file)], env=environment, check=True, stdout=subprocess.DEVNULL)
        rows: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["rows"]
        return rows


if __name__ == "__main__":
    main()
