"""When a training ends: at its last epoch, without improvement, without hope, or with a network that collapsed."""

import math

import numpy as np

from pneumo_core.errors import TrialFailed
from pneumo_core.result import Stopped
from pneumo_core.specs import TrainSpec
from pneumo_core.training.task import Task, TrainState

LEAST_DIFFERENT = 0.5  # of the scores of a network that works; float32 gives nearly every image a score of its own
LEAST_IMAGES = 100  # with fewer, a small network may well give some the same
SURE = 1e-5
HOPELESS_EPOCHS = 3  # after so many, an AUC that chance would give ends the trial
CHANCE_DEVIATIONS = 2.0
WIDEST_MARGIN = 0.1  # with fewer images than that takes, nothing is known after three epochs


def monitored_cost(spec: TrainSpec, metrics: dict[str, float]) -> float:
    """Return the metric that stopping and the plateau schedule watch, turned so that lower is better."""
    if spec.monitor == "val_loss":
        return metrics["val_loss"]
    return -metrics["pruning_metric" if spec.monitor == "objective" else spec.monitor]


def stopped(task: Task, state: TrainState) -> Stopped | None:
    """Return why the training ends after the last epoch of `state`, None where it continues."""
    spec, stage = task.spec, task.stage
    if state.n_epochs >= spec.epochs:
        return "completed"
    waits_since = max(state.best_epoch, task.fine_tuning.head_epochs - 1)  # the head alone never ends a trial
    if state.n_epochs - 1 - waits_since >= spec.patience or is_hopeless(task, state):
        return "early"
    return "paused" if stage.until_epoch is not None and state.n_epochs >= stage.until_epoch else None


def is_hopeless(task: Task, state: TrainState) -> bool:
    """Return whether no epoch so far did better than chance would: none will make up for that within a search.

    Chance is an AUC of 0.5 with the deviation of the Mann-Whitney statistic under no difference.
    """
    if state.n_epochs < HOPELESS_EPOCHS + task.fine_tuning.head_epochs:
        return False
    y = task.arrays.y_validation
    n_positive, n = int(y.sum()), len(y)
    margin = CHANCE_DEVIATIONS * math.sqrt((n + 1) / (12 * n_positive * (n - n_positive)))
    return margin < WIDEST_MARGIN and max(epoch["auc"] for epoch in state.history) < 0.5 + margin


def check_collapse(scores: np.ndarray) -> None:
    """Raise `TrialFailed("collapsed")` where most of `scores` (n,) are alike: an AUC would not show it.

    Fine-tuning at a rate that is too high ends like this: 213 different scores for 624 images were seen, and one score
    for all of them. Scores at 0 and 1, where a sure network's round to one number, say nothing.
    """
    inner = scores[(scores > SURE) & (scores < 1 - SURE)]
    n_different = len(np.unique(inner))
    few = n_different < LEAST_DIFFERENT * len(inner) and len(scores) >= LEAST_IMAGES
    if np.ptp(scores) == 0 or few:
        raise TrialFailed(
            "collapsed",
            f"the network gives {max(1, n_different)} different scores to {len(scores)} images: it collapsed; lower "
            "`learning_rate`, or give `warmup_epochs` or `head_epochs`",
        )


def log_loss(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean binary cross-entropy of `scores` (n,), unweighted: what `val_loss` means here."""
    p = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)  # float32 scores round to 0 and 1 about there
    return float(-np.mean(np.where(y == 1, np.log(p), np.log1p(-p))))
