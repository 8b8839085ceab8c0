"""One trial over folds: a model for each, one after the other, judged together on held-out images.

The folds are patient-grouped parts of the training and validation roles; calibration and test stay out of reach.
Within a fold, images of other patients than the held-out ones decide when to stop (`folds.parts`). The judgement is
of all held-out scores at one threshold, so it has the steps of all positives, not of the validation role's few.

Finished folds are kept in the trial's checkpoint and the epochs of the fold under way beside it: a killed trial
continues from there.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low

import keras
import numpy as np

from pneumo_core import codec
from pneumo_core.data import folds
from pneumo_core.data.folds import Pooled
from pneumo_core.data.preprocess import FitArrays
from pneumo_core.errors import TrialFailed
from pneumo_core.models import forward, model
from pneumo_core.result import Layer, TrialResult
from pneumo_core.scoring import operating
from pneumo_core.scoring.metrics import Floats, Ints
from pneumo_core.seeds import derive
from pneumo_core.specs import ObjectiveSpec, TrialSpec
from pneumo_core.training import checkpoint, precision
from pneumo_core.training.checkpoint import Checkpoint, UnusableCheckpoint
from pneumo_core.training.ending import log_loss
from pneumo_core.training.task import OnEpoch
from pneumo_core.training.trial import build_and_train, environment, free_memory, memory_failures
from pneumo_core.training.trial import identity as run_identity
from pneumo_core.wire import FOLD, N_FOLDS, RunTrial


@dataclass(frozen=True, kw_only=True)
class FoldsState:
    """The state of a trial between two folds, apart from its scores."""

    history: tuple[dict[str, float], ...] = ()  # one entry a finished fold
    n_parameters: int = 0
    layers: tuple[Layer, ...] = ()
    features: str = "none"  # see `features.open_cached`

    @property
    def n_done(self) -> int:
        return len(self.history)


@dataclass(frozen=True, kw_only=True)
class FoldsTrial:
    """All that the folds of one trial have in common."""

    spec: TrialSpec
    objective: ObjectiveSpec
    pooled: Pooled
    n_folds: int
    fold_seed: int  # of the division into folds: the same for all trials of a study, which are compared fold by fold
    seed: int
    on_epoch: OnEpoch
    checkpoint: Path | None = None


def run_folds(task: RunTrial, on_epoch: OnEpoch) -> TrialResult:
    """Run the trial of `task` over its folds; see `run`."""
    assert task.n_folds is not None
    trial = FoldsTrial(
        spec=task.spec,
        objective=task.objective,
        pooled=folds.pool(Path(task.arrays)),
        n_folds=task.n_folds,
        fold_seed=task.fold_seed,
        seed=task.seed,
        on_epoch=on_epoch,
        checkpoint=Path(task.checkpoint) if task.checkpoint else None,
    )
    return run(trial)


def run(trial: FoldsTrial) -> TrialResult:
    """Train the folds that the checkpoint doesn't have, and judge all of them together.

    `trial.on_epoch(fold, metrics)` is called after every fold trained here, with the metrics of its own held-out
    images, and returns True to end the trial as pruned; a pruned trial is judged on the folds it finished. It is also
    called after every epoch within a fold, marked by `FOLD`, and what it returns then is ignored.
    Raises what `run_trial` raises, and `DataError` where there are too few patients for so many folds.
    """
    fold_of_image = folds.assign(trial.pooled.y, trial.pooled.groups, trial.n_folds, trial.fold_seed)  # (n,)
    state, scores, note = _restore(trial)
    pruned = False
    while state.n_done < trial.n_folds and not pruned:
        state, scores = _next_fold(trial, state, scores)
        stop = trial.on_epoch(state.n_done - 1, {**state.history[-1], N_FOLDS: float(trial.n_folds)})
        pruned = stop and state.n_done < trial.n_folds  # after the last one there is nothing left to save
        if not pruned:
            _save(trial, state, scores)
    return _result(trial, state, scores, fold_of_image < state.n_done, note)


def train_fold(
    spec: TrialSpec,
    objective: ObjectiveSpec,
    pooled: Pooled,
    fold: tuple[Ints, Ints, Ints],
    seed: int,
    on_epoch: OnEpoch,
    checkpoint: Path | None,
    save: Callable[[keras.Model], None] | None = None,
) -> tuple[TrialResult, Floats]:
    """Train on one of `folds.parts`; return the result on its stopping part, and the scores of its held-out rows.

    `save` gets the trained network.
    The fold's images are copied into memory: 21 MB for 5,216 grey images of 64 px, 785 MB for colour at 224 px.
    """
    learn, stop, held_out = fold
    arrays = FitArrays(
        x_train=pooled.take(learn),
        y_train=pooled.y[learn],
        x_validation=pooled.take(stop),
        y_validation=pooled.y[stop],
        origin=pooled.origin_of(learn, stop),
        groups_train=pooled.groups[learn],
        groups_validation=pooled.groups[stop],
    )
    try:
        trained = build_and_train(spec, objective, arrays, seed, on_epoch, checkpoint)
        if save is not None:
            save(trained.model)
        with memory_failures():
            return trained.result, forward.of_model(model.in_float32(trained.model)).scores(pooled.take(held_out))
    finally:
        free_memory()


def _next_fold(trial: FoldsTrial, state: FoldsState, scores: Floats) -> tuple[FoldsState, Floats]:
    index = state.n_done
    fold = folds.parts(trial.pooled.y, trial.pooled.groups, trial.n_folds, index, trial.fold_seed)

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        trial.on_epoch(epoch, {**metrics, FOLD: float(index), N_FOLDS: float(trial.n_folds)})
        return False

    part = checkpoint.of_part(trial.checkpoint) if trial.checkpoint else None
    seed = derive(trial.seed, "fold", index)
    result, found = train_fold(trial.spec, trial.objective, trial.pooled, fold, seed, on_epoch, part)
    if not np.isfinite(found).all():
        raise TrialFailed("nan_loss", f"scores of fold {index + 1} became NaN; lower `learning_rate`")
    held_out = fold[2]
    scores = scores.copy()
    scores[held_out] = found
    entry = _entry(result, trial.pooled.y[held_out], found, trial.objective)
    after = FoldsState(
        history=(*state.history, entry),
        n_parameters=result.n_parameters,
        layers=result.layers,
        features=result.environment["features"],
    )
    return after, scores


def _entry(result: TrialResult, y: np.ndarray, scores: Floats, objective: ObjectiveSpec) -> dict[str, float]:
    """Return what is remembered of a fold: how its held-out images (n,) are scored, and how long it was trained."""
    return {
        "loss": result.history[result.best_epoch - 1]["loss"],
        "val_loss": log_loss(y, scores),
        **asdict(operating.judge(y, scores, objective).metrics),
        "pruning_metric": operating.pruning_metric(y, scores, objective),
        "best_epoch": float(result.best_epoch),
        "n_epochs": float(result.n_epochs),
        "seconds": result.seconds,
    }


def _result(trial: FoldsTrial, state: FoldsState, scores: Floats, done: np.ndarray, note: str) -> TrialResult:
    """Judge the pooled `scores` (n,) of the images in finished folds, `done` (n,)."""
    y, groups = trial.pooled.y[done], trial.pooled.groups[done]
    judged = operating.judge(y, scores[done], trial.objective)
    return TrialResult(
        values=judged.values,
        constraint=judged.constraint,
        metrics=judged.metrics,
        value_se=operating.value_se(y, scores[done], groups, trial.objective),
        best_epoch=int(median_low(fold["best_epoch"] for fold in state.history)),
        n_epochs=int(sum(fold["n_epochs"] for fold in state.history)),
        n_parameters=state.n_parameters,
        seconds=sum(fold["seconds"] for fold in state.history),
        stopped="completed" if state.n_done == trial.n_folds else "pruned",
        history=state.history,
        scores=tuple(scores[done].tolist()),
        environment={
            **environment(),
            "precision": precision.of(trial.spec),
            "checkpoint": note,
            "features": state.features,
        },
        n_folds=state.n_done,
        layers=state.layers,
    )


def _save(trial: FoldsTrial, state: FoldsState, scores: Floats) -> None:
    """Keep the finished folds; the epochs of the last of them are then of no more use."""
    if trial.checkpoint is None:
        return
    saved = Checkpoint(state=codec.to_json(state), arrays={"scores": scores})
    checkpoint.save(trial.checkpoint, _identity(trial), saved)
    checkpoint.remove(checkpoint.of_part(trial.checkpoint))


def _restore(trial: FoldsTrial) -> tuple[FoldsState, Floats, str]:
    """Return where to continue from, scores (n,) that are NaN where there is none yet, and a note on the checkpoint."""
    nothing = FoldsState(), np.full(len(trial.pooled.y), np.nan)
    if trial.checkpoint is None:
        return *nothing, "none"
    try:
        saved = checkpoint.load(trial.checkpoint, _identity(trial))
        if saved is None:
            return *nothing, "none yet"
        state = codec.from_json(FoldsState, saved.state)
    except (UnusableCheckpoint, ValueError) as error:
        return *nothing, f"started over: {error}"
    return state, saved.arrays["scores"], f"continued after {state.n_done} folds"


def _identity(trial: FoldsTrial) -> str:
    """Return the name by which the checkpoint knows its trial: that of one training, and how patients are divided."""
    division = [trial.n_folds, trial.fold_seed, trial.pooled.y.tolist(), trial.pooled.groups.tolist()]
    return codec.digest([run_identity(trial.spec, trial.objective, trial.seed), *division])
