"""One trial, whole: seed, build, train, judge."""

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from pneumo_core import codec
from pneumo_core.data.preprocess import FitArrays
from pneumo_core.errors import TrialFailed
from pneumo_core.models import layers, model
from pneumo_core.result import TrialResult
from pneumo_core.scoring import operating
from pneumo_core.seeds import derive, seed_everything
from pneumo_core.specs import ObjectiveSpec, Stage, TrialSpec
from pneumo_core.training import features, fine_tuning, patients, precision, train
from pneumo_core.training.task import OnEpoch, Task

WHOLE = Stage()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model with its result."""

    model: keras.Model  # holds the weights of its best epoch
    result: TrialResult


def run_trial(
    spec: TrialSpec,
    objective: ObjectiveSpec,
    arrays: FitArrays,
    seed: int,
    on_epoch: OnEpoch,
    checkpoint: Path | None = None,
    stage: Stage = WHOLE,
) -> TrialResult:
    """Run one trial and return its result, leaving no model behind in this process.

    `on_epoch(epoch, metrics)` is called after every epoch (0-based) and returns True to end the trial as pruned. With
    `checkpoint`, the trial saves itself there after each epoch and continues from what it finds; the caller
    removes the file once the result is safe. A trial of several stages is called once a stage, each with its arrays.
    Raises `TrialFailed` with reason `nan_loss` or `out_of_memory`, and `DataError` without pretrained weights.
    """
    try:
        return build_and_train(spec, objective, arrays, seed, on_epoch, checkpoint, stage).result
    finally:
        free_memory()


def build_and_train(
    spec: TrialSpec,
    objective: ObjectiveSpec,
    arrays: FitArrays,
    seed: int,
    on_epoch: OnEpoch,
    checkpoint: Path | None = None,
    stage: Stage = WHOLE,
) -> Trained:
    """Do as `run_trial`, and return the model as well."""
    free_memory()
    seed_everything(seed)
    _keep_programs(arrays)
    with memory_failures():
        where = {**environment(), "precision": precision.of(spec)}
        network = model.build(spec.model, _image_shape(arrays), precision.of(spec))
        parts = features.split(network, spec.model)
        rows = patients.rows(arrays, spec.train.patients * stage.patients, derive(seed, "patients"))
        cached, note = features.open_cached(parts, spec, arrays, where, rows)
        task = Task(
            spec=spec.train,
            objective=objective,
            arrays=cached.arrays if cached else arrays,
            rows=None if cached else rows,  # what is cached is of these rows alone
            seed=derive(seed, "data"),
            identity=identity(spec, objective, seed),
            images=images_digest(arrays),
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            stage=stage,
            n_views=features.n_views(parts, spec.model),
            open_changed=cached.open_changed if cached else None,
            fine_tuning=fine_tuning.plan(network, spec.model),
        )
        fitted = train.fit(cached.rest if cached else network, task)
        where |= {"checkpoint": fitted.note, "features": note, **({"engine": cached.engine} if cached else {})}
        where |= {"augmentation": "on the device"} if fitted.changed_on_device else {}
    return Trained(model=network, result=_result(network, fitted, objective, arrays, where))


@contextmanager
def memory_failures() -> Iterator[None]:
    """Turn memory that ran out, which each backend says in its own way, into `TrialFailed("out_of_memory")`."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrialFailed("out_of_memory", f"no memory for this trial: {str(error)[:500]}") from error


def free_memory() -> None:
    """Drop what Keras and dead models hold, so that a process may run many trials."""
    keras.utils.clear_session()  # collects garbage at its end


def identity(spec: TrialSpec, objective: ObjectiveSpec, seed: int) -> str:
    """Return the name by which a checkpoint knows its trial: spec, objective, seed, backend and number format."""
    return codec.digest([spec.digest, codec.to_json(objective), seed, keras.backend.backend(), precision.of(spec)])


def images_digest(arrays: FitArrays) -> str:
    """Return the name by which a checkpoint knows the images that it was trained on."""
    digest = hashlib.blake2b(digest_size=8)
    for x, y in ((arrays.x_train, arrays.y_train), (arrays.x_validation, arrays.y_validation)):
        digest.update(f"{x.shape}".encode() + y.tobytes() + x[:: max(1, len(x) // 8)].tobytes())  # a sample is enough
    return digest.hexdigest()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that host or device memory ran out; each backend has its own way."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"MemoryError", "ResourceExhaustedError"}) or "RESOURCE_EXHAUSTED" in str(error)


def environment() -> dict[str, str]:
    """Return what a result may depend on beside its spec."""
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "keras": keras.__version__,
        backend: metadata.version(backend),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "devices": ", ".join(_device_names(backend)),
    }


def _result(
    network: keras.Model,
    fitted: train.Fitted,
    objective: ObjectiveSpec,
    arrays: FitArrays,
    where: dict[str, str],
) -> TrialResult:
    y, shifted, state = arrays.y_validation, fitted.shifted_scores, fitted.state
    labels, scores = operating.pooled(y, fitted.scores, shifted)
    judged = operating.judge(labels, scores, objective)
    groups = np.tile(arrays.groups_validation, len(labels) // len(y))
    assert state.stopped is not None
    return TrialResult(
        values=judged.values,
        constraint=judged.constraint,
        metrics=judged.metrics,
        value_se=operating.value_se(labels, scores, groups, objective),
        best_epoch=state.best_epoch + 1,
        n_epochs=state.n_epochs,
        n_parameters=network.count_params(),
        seconds=sum(epoch["seconds"] for epoch in state.history),
        stopped=state.stopped,
        history=state.history,
        scores=tuple(fitted.scores.tolist()),  # every digit: what is shown must be what was judged
        environment=where,
        shifted_scores=() if shifted is None else tuple(shifted.tolist()),
        family_aucs={} if shifted is None else operating.family_aucs(y, shifted, objective.shifts),
        layers=layers.table(network),
    )


def _keep_programs(arrays: FitArrays) -> None:
    """Let JAX keep what it compiles for an accelerator beside arrays that are kept."""
    if keras.backend.backend() == "jax" and arrays.origin is not None:
        from pneumo_core.training import programs_jax

        programs_jax.keep_in(arrays.origin.cache_dir)


def _image_shape(arrays: FitArrays) -> tuple[int, int, int]:
    height, width, channels = arrays.x_train.shape[1:]
    return (height, width, channels)


def _device_names(backend: str) -> list[str]:
    """Return the model of each accelerator, or ["CPU"]."""
    if backend == "jax":
        import jax

        return sorted({str(device.device_kind).upper() for device in jax.devices()})
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus] or ["CPU"]
