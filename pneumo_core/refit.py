"""Train again what a search found: on one fold, or for good; and score a role with what was saved."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumo_core import folds, network, preprocess
from pneumo_core.result import TrialResult
from pneumo_core.run import build_and_train, free_memory
from pneumo_core.train import OnEpoch
from pneumo_core.wire import RunFold, RunTrial, ScoreRole


@dataclass(frozen=True, kw_only=True)
class FoldArrays:
    """The images of one fold as a trial sees them; `x_validation` decides when to stop."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray


def train_and_save(task: RunTrial, on_epoch: OnEpoch) -> TrialResult:
    """Run a trial and keep its model in the file `task.save`, whole or not at all."""
    assert task.save is not None
    file, checkpoint = Path(task.save), Path(task.checkpoint) if task.checkpoint else None
    try:
        arrays = preprocess.open_fit_arrays(Path(task.arrays))
        trained = build_and_train(task.spec, task.objective, arrays, task.seed, on_epoch, checkpoint)
        unfinished = file.with_name(f"{file.stem}.{os.getpid()}.tmp.keras")  # Keras insists on the suffix
        file.parent.mkdir(parents=True, exist_ok=True)
        trained.model.save(unfinished)
        unfinished.replace(file)
        return trained.result
    finally:
        free_memory()


def fold_scores(task: RunFold, on_epoch: OnEpoch) -> tuple[float, ...]:
    """Train on one fold's part of train and validation; return the scores of the rows that it holds out.

    The fold's images are copied into memory: 21 MB for 5,216 grey images of 64 px, 785 MB for colour at 224 px.
    """
    folder = Path(task.arrays)
    y, groups = folds.labels(folder)
    x = np.concatenate([preprocess.open_role(folder, role).x for role in folds.POOLED_ROLES])  # (n, h, w, c)
    learn, stop, held_out = folds.parts(y, groups, task.n_folds, task.index, task.fold_seed)
    arrays = FoldArrays(x_train=x[learn], y_train=y[learn], x_validation=x[stop], y_validation=y[stop])
    checkpoint = Path(task.checkpoint) if task.checkpoint else None
    try:
        trained = build_and_train(task.spec, task.objective, arrays, task.seed, on_epoch, checkpoint)
        return tuple(network.scores(trained.model, x[held_out]).tolist())
    finally:
        free_memory()


def role_scores(task: ScoreRole) -> tuple[float, ...]:
    """Return the scores of every image of a role under the model saved in `task.model`."""
    try:
        x = preprocess.open_role(Path(task.arrays), task.role).x
        return tuple(network.scores(network.load(Path(task.model)), x).tolist())
    finally:
        free_memory()
