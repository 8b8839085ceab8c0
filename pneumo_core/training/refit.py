"""Train again what a search found: on one fold, or for good; and score a role with what was saved."""

from functools import partial
from pathlib import Path

import keras
import numpy as np

from pneumo_core import files, shifts
from pneumo_core.data import folds, preprocess, shifted
from pneumo_core.models import forward, model
from pneumo_core.result import TrialResult
from pneumo_core.training import cross_validate
from pneumo_core.training.task import OnEpoch
from pneumo_core.training.trial import build_and_train, free_memory
from pneumo_core.wire import RunFold, RunTrial, ScoreRole


def train_and_save(task: RunTrial, on_epoch: OnEpoch) -> TrialResult:
    """Run a trial and keep its network in the file `task.save`, whole or not at all; that of a pruned one is not."""
    assert task.save is not None
    file, checkpoint = Path(task.save), Path(task.checkpoint) if task.checkpoint else None
    try:
        arrays = shifted.open_fit_arrays(Path(task.arrays), task.objective.shifts)
        trained = build_and_train(task.spec, task.objective, arrays, task.seed, on_epoch, checkpoint, task.stage)
        if trained.result.stopped in ("pruned", "paused"):
            return trained.result
        _save(trained.model, file)
        return trained.result
    finally:
        free_memory()


def fold_scores(task: RunFold, on_epoch: OnEpoch) -> tuple[float, ...]:
    """Train on one fold of train and validation, save where asked, and return the scores of what it holds out."""
    pooled, checkpoint = folds.pool(Path(task.arrays)), Path(task.checkpoint) if task.checkpoint else None
    fold = folds.parts(pooled.y, pooled.groups, task.n_folds, task.index, task.fold_seed)
    save = partial(_save, file=Path(task.save)) if task.save else None
    _, scores = cross_validate.train_fold(
        task.spec, task.objective, pooled, fold, task.seed, on_epoch, checkpoint, save=save
    )
    return tuple(scores.tolist())


def role_scores(task: ScoreRole) -> tuple[float, ...]:
    """Return the scores of images of a role, shift by shift, under the model saved in `task.model`."""
    try:
        x = preprocess.open_role(Path(task.arrays), task.role).x
        x = x if task.rows is None else x[list(task.rows)]
        engine = forward.of_file(Path(task.model))
        parts = [engine.scores(shifts.apply(name, x) if name else x) for name in task.shifts]
        return tuple(np.concatenate(parts).tolist())
    finally:
        free_memory()


def _save(trained: keras.Model, file: Path) -> None:
    files.write_file(file, model.in_float32(trained).save)
