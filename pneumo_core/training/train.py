"""Fit a model epoch by epoch: schedule, early stopping, best weights, and exact continuation."""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np

from pneumo_core import codec
from pneumo_core.errors import TrialFailed
from pneumo_core.models.layers import leaves
from pneumo_core.scoring import operating
from pneumo_core.training import batches, checkpoint, ending, norms, schedule, stretching
from pneumo_core.training.batches import Source
from pneumo_core.training.checkpoint import Checkpoint, UnusableCheckpoint
from pneumo_core.training.schedule import PlateauState
from pneumo_core.training.steps import Steps, make_optimizer, make_steps
from pneumo_core.training.task import Task, TrainState

SCORE_BATCH = 256  # images scored at once, fewer where they are large:
SCORE_BATCH_BYTES = 4 * 2**20  # of pixels; 83 grey images of 224 px, whose feature maps fill some hundred MB


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How a training ended; the model holds the weights of its best epoch."""

    state: TrainState
    scores: np.ndarray  # (n_validation,) float32
    shifted_scores: np.ndarray | None  # the same of the images under their shifts
    note: str  # what became of the checkpoint
    changed_on_device: bool = False  # the images, by its own arithmetic


def fit(model: keras.Model, task: Task) -> Fitted:
    """Train `model` in place, from its checkpoint where there is a usable one.

    `task.on_epoch` is called after each epoch trained here, never for those of the checkpoint, and before the
    epoch is saved: after a kill an epoch may be reported twice, with the same numbers, but never not at all.
    Where `task.stage` ends before the trial does, training ends as "paused", and the checkpoint holds all that the
    next stage continues from.
    Raises `TrialFailed`: "nan_loss" when the loss or a score stops being a number, "collapsed" when the network of the
    best epoch gives most images the same scores.
    """
    run = _Run(model, task)
    state, note = run.restore()
    while state.stopped is None:
        state = run.epoch(state)
        stop = task.on_epoch(state.n_epochs - 1, dict(state.history[-1]))
        if stop and state.stopped in (None, "paused"):  # one that has ended by itself is complete, whatever is asked
            state = replace(state, stopped="pruned")
        else:
            run.save(state)
    run.restore_best()
    fitted = Fitted(
        state=state,
        scores=run.validation_scores(),
        shifted_scores=run.shifted_scores(),
        note=note,
        changed_on_device=run.changes_on_device(),
    )
    ending.check_collapse(fitted.scores)
    task.fine_tuning.prepare(task.spec.epochs)  # a model is left with the settings of its last phase
    return fitted


def score_batch(x: np.ndarray) -> int:
    """Return how many rows of `x` (n, ...) go through a network at once."""
    row_bytes: int = x[0].nbytes
    return min(SCORE_BATCH, len(x), max(1, SCORE_BATCH_BYTES // row_bytes))


def changing_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that training changes: all but those of frozen layers, random states included."""
    return [variable for layer in leaves(model) if layer.trainable for variable in layer.variables]


def numpy_copies(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Return the values of `variables`, which later training leaves alone."""
    return [np.asarray(keras.ops.convert_to_tensor(variable)).copy() for variable in variables]


class _Run:
    """The moving parts of one training: the model, its steps and the best weights so far."""

    def __init__(self, model: keras.Model, task: Task) -> None:
        self._task, self._model = task, model
        self._variables = changing_variables(model)
        self._optimizer, self._steps = self._prepared(epoch=0)
        self._head_only = task.fine_tuning.trains_head_only(0)
        self._best: list[np.ndarray] = []
        self._flat = len(model.input_shape) == 2
        self._seen: list[Any] = []  # batches of the last epoch, (b, ...) each
        arrays = task.arrays
        self._source = Source(
            x=arrays.x_train,
            y=arrays.y_train,
            rows=task.rows,
            class_weight=batches.class_weight(
                task.spec, arrays.y_train if task.rows is None else arrays.y_train[task.rows]
            ),
            augment=task.spec.augment,
            seed=task.seed,
            flat=self._flat,
            n_views=task.n_views,
            open_changed=task.open_changed,
        )

    def epoch(self, state: TrainState) -> TrainState:
        """Train and judge one epoch."""
        start = time.perf_counter()
        spec, number = self._task.spec, state.n_epochs
        self._enter_phase(number)
        if number and number == self._task.fine_tuning.head_epochs:
            state = replace(state, plateau=PlateauState())
        loss, rate = self._train(state)
        with self._as_judged():
            metrics = {"loss": loss, **self._judge(number), "learning_rate": rate}
            cost = ending.monitored_cost(spec, metrics)
            if state.best_cost is None or cost < state.best_cost:
                self._steps.synchronize()
                self._best = numpy_copies(self._variables)
                state = replace(state, best_cost=cost, best_epoch=number)
        metrics["seconds"] = time.perf_counter() - start
        state = replace(
            state,
            n_epochs=number + 1,
            plateau=schedule.after_epoch(spec, state.plateau, cost),
            history=(*state.history, metrics),
        )
        return replace(state, stopped=ending.stopped(self._task, state))

    def validation_scores(self) -> np.ndarray:
        """Return the scores (n,) of the validation images under the present weights."""
        return self._scores(self._task.arrays.x_validation)

    def shifted_scores(self) -> np.ndarray | None:
        """Return those of the same images under their shifts; None where the study judges without."""
        x = self._task.arrays.x_shifted
        return None if x is None else self._scores(x)

    def changes_on_device(self) -> bool:
        """Return whether the device changes the images that are trained on."""
        return not self._source.augment.is_identity and self._steps.hold(self._source)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        return self._steps.predict(x.reshape(len(x), -1) if self._flat else x, score_batch(x))

    @contextlib.contextmanager
    def _as_judged(self) -> Iterator[None]:
        """Give the model the weights that are judged and kept, with statistics of their own; then those in training."""
        averages = self._steps.averages()
        if not averages:
            self._renew_norms()
            yield
            return
        self._steps.synchronize()
        variables = self._model.trainable_variables
        trained = numpy_copies(variables)
        self._assign(variables, averages)
        self._renew_norms()
        yield
        self._steps.synchronize()
        self._assign(variables, trained)

    def _renew_norms(self) -> None:
        found = norms.trained(self._model)
        if not found:
            return
        measured = [self._steps.batch_statistics(x, found) for x in self._seen]
        self._steps.synchronize()
        norms.put(found, measured)
        self._steps.reload()

    def restore_best(self) -> None:
        """Put the weights of the best epoch into the model."""
        self._assign(self._variables, self._best)

    def save(self, state: TrainState) -> None:
        """Write the checkpoint, where one is wanted."""
        if self._task.checkpoint is None:
            return
        self._steps.synchronize()
        arrays = dict(self._named_arrays())
        saved = Checkpoint(state=codec.to_json(state), arrays=arrays)
        checkpoint.save(self._task.checkpoint, self._task.identity, saved)

    def restore(self) -> tuple[TrainState, str]:
        """Return the state to continue from, with a note on the checkpoint, its arrays put in place."""
        anew = TrainState(stage=self._task.stage.index, images=self._task.images)
        if self._task.checkpoint is None:
            return anew, "none"
        try:
            saved = checkpoint.load(self._task.checkpoint, self._task.identity)
            if saved is None:
                return anew, "none yet" if anew.stage == 0 else "gone: this stage begins with the first epoch"
            return self._take_over(saved)
        except UnusableCheckpoint as error:
            return anew, f"started over: {error}"

    def _prepared(self, epoch: int) -> tuple[keras.Optimizer, Steps]:
        """Return a new optimizer and new steps for what `epoch` trains."""
        tuning, spec = self._task.fine_tuning, self._task.spec
        tuning.prepare(epoch)
        optimizer = make_optimizer(spec)
        return optimizer, make_steps(self._model, optimizer, spec, tuning.rate_factors(self._model))

    def _enter_phase(self, epoch: int) -> None:
        """Make ready for what `epoch` trains, where another part of the network was trained before it."""
        head_only = self._task.fine_tuning.trains_head_only(epoch)
        if head_only != self._head_only:
            self._steps.synchronize()
            self._optimizer, self._steps = self._prepared(epoch)
            self._head_only = head_only

    def _train(self, state: TrainState) -> tuple[float, float]:
        """Take the steps of one epoch; return their mean loss and the last learning rate."""
        spec, epoch = self._task.spec, state.n_epochs
        n_steps = batches.n_steps(spec, self._source.n_samples)
        rates = schedule.learning_rates(spec, state.plateau, epoch=epoch, n_steps=n_steps)
        self._seen = []
        if self._steps.hold(self._source):
            rows, changes = batches.shown(self._source, spec, epoch)
            self._steps.train_rows(rows, changes, rates)
            self._remember(self._steps.held(rows[i], changes and changes[i]) for i in range(n_steps))
        else:
            for chunk in batches.chunks(self._source, spec, epoch):
                self._steps.train(chunk, rates[chunk.first_step : chunk.first_step + chunk.n_steps])
                self._remember(chunk.x[: chunk.n_steps])
        loss = self._steps.take_loss()
        if not math.isfinite(loss):
            raise TrialFailed(
                "nan_loss", f"the training loss became {loss} in epoch {epoch + 1}; lower `learning_rate`"
            )
        return loss, float(rates[-1])

    def _remember(self, some: Iterable[Any]) -> None:
        """Keep batches of the epoch's first images for the statistics of batch normalisation."""
        if not norms.trained(self._model):
            return
        for x in some:
            if sum(map(len, self._seen)) >= norms.N_IMAGES:
                return
            self._seen.append(x)

    def _judge(self, epoch: int) -> dict[str, float]:
        scores, objective = self.validation_scores(), self._task.objective
        y, scores = operating.pooled(self._task.arrays.y_validation, scores, self.shifted_scores())
        if not np.isfinite(scores).all():
            raise TrialFailed("nan_loss", f"validation scores became NaN in epoch {epoch + 1}; lower `learning_rate`")
        return {
            "val_loss": ending.log_loss(y, scores),
            **asdict(operating.judge(y, scores, objective).metrics),
            "pruning_metric": operating.pruning_metric(y, scores, objective),
        }

    def _take_over(self, saved: Checkpoint) -> tuple[TrainState, str]:
        """Continue in the same stage, or in a later one."""
        path, stage = self._task.checkpoint, self._task.stage.index
        try:
            state = codec.from_json(TrainState, saved.state)
        except ValueError as error:
            raise UnusableCheckpoint(f"{path}: {error}") from error
        if state.stage > stage or (state.stage == stage and state.images != self._task.images):
            raise UnusableCheckpoint(f"{path} is of other images")
        self._enter_phase(state.n_epochs - 1)
        if state.images != self._task.images:
            return self._continue_on_other_images(saved, state)
        note = self._continue_exactly(saved, state)
        if state.stopped == "paused" and state.stage < stage:
            state = replace(state, stopped=None)
        return replace(state, stage=stage), note

    def _continue_exactly(self, saved: Checkpoint, state: TrainState) -> str:
        present = dict(self._named_arrays(best=numpy_copies(self._variables)))
        shapes = {name: (a.shape, a.dtype) for name, a in saved.arrays.items()}
        if shapes != {name: (a.shape, a.dtype) for name, a in present.items()}:
            raise UnusableCheckpoint(f"{self._task.checkpoint} holds other arrays than this model")
        groups = {prefix: _group(saved, prefix) for prefix in ("model", "optimizer", "average", "best")}
        self._assign(self._variables + list(self._optimizer.variables), groups["model"] + groups["optimizer"])
        self._steps.set_averages(groups["average"])
        self._best = groups["best"]
        return f"continued after {state.n_epochs} epochs"

    def _continue_on_other_images(self, saved: Checkpoint, state: TrainState) -> tuple[TrainState, str]:
        """Take over weights and optimizer, what belongs to flattened maps stretched to their new size.

        Where that can't be, the weights concerned begin anew, and with them the optimizer: moments of different age
        under one count of steps would make the first steps several times too large. The best epoch, early stopping and
        the plateau always begin anew: scores of images of another size say nothing about these.
        """
        present = dict(self._named_arrays(best=[]))
        begun_anew = ("best.", "average.")
        given = {name: a for name, a in saved.arrays.items() if not name.startswith(begun_anew)}
        if given.keys() != {name for name in present if not name.startswith(begun_anew)}:
            raise UnusableCheckpoint(f"{self._task.checkpoint} holds other arrays than this model")
        maps = stretching.flattened_maps(self._model, self._task.arrays.x_train)
        taken = {
            name: stretching.fitted(a, present[name], maps, name.startswith("model.")) for name, a in given.items()
        }
        lost = [name for name, a in taken.items() if a is None]
        kept = {n: a for n, a in taken.items() if a is not None and (n.startswith("model.") or not lost)}
        merged = Checkpoint(state=None, arrays=present | kept)
        values = _group(merged, "model") + _group(merged, "optimizer")
        self._assign(self._variables + list(self._optimizer.variables), values)
        if self._task.spec.average:  # of maps of another size it would be of other weights
            self._steps.set_averages(numpy_copies(self._model.trainable_variables))
        state = TrainState(
            stage=self._task.stage.index, images=self._task.images, n_epochs=state.n_epochs, history=state.history
        )
        anew = f"; {sum(n.startswith('model.') for n in lost)} weights and the optimizer begin anew" if lost else ""
        return state, f"continued after {state.n_epochs} epochs on other images{anew}"

    def _named_arrays(self, best: list[np.ndarray] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        groups = {
            "model": numpy_copies(self._variables),
            "optimizer": numpy_copies(self._optimizer.variables),
            "average": self._steps.averages(),
            "best": self._best if best is None else best,
        }
        for prefix, values in groups.items():
            yield from ((f"{prefix}.{i:04d}", value) for i, value in enumerate(values))

    def _assign(self, variables: list[keras.Variable], values: list[np.ndarray]) -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self._steps.reload()


def _group(saved: Checkpoint, prefix: str) -> list[np.ndarray]:
    return [saved.arrays[name] for name in sorted(saved.arrays) if name.startswith(f"{prefix}.")]
