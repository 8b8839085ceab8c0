"""One model, or the average of the best few where that is better beyond noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pneumo_core.scoring import operating
from pneumo_core.scoring.intervals import Metric, patient_bootstrap
from pneumo_core.scoring.metrics import Bools, Floats, Ints
from pneumo_core.specs import ObjectiveSpec
from search.finalizing.confirm import Confirmed

MAX_MEMBERS = 3  # each costs its time at every prediction
CONFIDENCE = 0.95  # of all comparisons together
N_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What averaging the best `n_members` would add to the best one alone, over the held-out images of all folds."""

    n_members: int
    mean: float  # of the pruning metric, over folds
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen candidates, best first, and what was weighed."""

    members: tuple[Confirmed, ...]
    gains: tuple[Gain, ...]


def choose(confirmed: Sequence[Confirmed], y: np.ndarray, groups: np.ndarray, objective: ObjectiveSpec) -> Choice:
    """Return the best candidate, or the average of the best 2 or 3 where its gain is above 0 with confidence.

    `y` and `groups` (n,) are those of the pooled images that the folds' rows count. The gain is that of the
    threshold-free metric that the objective prunes by, on images that taught no model; its interval is a patient
    bootstrap, tightened for the number of comparisons.
    """
    sizes = range(2, min(MAX_MEMBERS, len(confirmed)) + 1)
    if not sizes:
        return Choice(members=tuple(confirmed[:1]), gains=())
    folds, rows, alone = _stacked(confirmed[0])
    averages = {n: np.mean([_stacked(found)[2] for found in confirmed[:n]], axis=0) for n in sizes}
    metrics: Mapping[str, Metric] = {
        str(n): _gain(y[rows], folds, alone, average, objective) for n, average in averages.items()
    }
    everything = np.arange(len(rows), dtype=np.float64)
    found = patient_bootstrap(
        y[rows],
        everything,  # "scores" that say which rows were drawn
        groups[rows],
        metrics,
        seed=0,
        n_resamples=N_RESAMPLES,
        confidence=1 - (1 - CONFIDENCE) / len(metrics),
    )
    gains = tuple(
        Gain(
            n_members=n,
            mean=metrics[str(n)](y[rows] == 1, everything) or 0.0,
            low=found[str(n)].low,
            high=found[str(n)].high,
        )
        for n in sizes
    )
    better = [gain for gain in gains if gain.low > 0]
    n_members = max(better, key=lambda gain: gain.mean).n_members if better else 1
    return Choice(members=tuple(confirmed[:n_members]), gains=gains)


def _stacked(found: Confirmed) -> tuple[Ints, Ints, Floats]:
    """Return fold, row and score of every held-out image, (m,) each, in the order of the plan."""
    steps = [found.steps[position] for position in sorted(found.steps)]
    folds = np.repeat(np.arange(len(steps)), [len(step.rows) for step in steps])
    return folds, np.concatenate([step.rows for step in steps]), np.concatenate([step.scores for step in steps])


def _gain(y: np.ndarray, folds: Ints, alone: Floats, average: Floats, objective: ObjectiveSpec) -> Metric:
    """Return the function from drawn rows to the mean difference over folds; None where a fold lost a class."""

    def gain(_labels: Bools, drawn: Floats) -> float | None:
        at = drawn.astype(np.int64)
        differences = []
        for fold in np.unique(folds):
            mine = at[folds[at] == fold]
            if len(np.unique(y[mine])) < 2:
                return None
            better, plain = (operating.pruning_metric(y[mine], s[mine], objective) for s in (average, alone))
            differences.append(better - plain)
        return float(np.mean(differences))

    return gain
