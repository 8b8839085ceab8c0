"""Confirm the best trials of a search on patient-grouped folds: the winner of a search was lucky as well as good.

Each candidate is trained anew on folds of train and validation and scored on images that taught it nothing, not even
when to stop. A candidate that is worse than the best feasible one so far, by a signed-rank test over the same folds
(Wilcoxon 1945), is dropped before it has run them all. Until one is feasible, none is dropped.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

import numpy as np
import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from pneumo_core import codec
from pneumo_core.data import folds
from pneumo_core.scoring import operating
from pneumo_core.scoring.operating import Judgement
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, ObjectiveSpec, TrialSpec
from pneumo_core.wire import RunFold, Scored, TrialDone, TrialError
from search import records
from search.finalizing.jobs import Jobs

PRUNING_P = 0.1  # Optuna's own; with 3 folds × 2 seeds a candidate worse on the first 4 is dropped (p = 1/16)

Fate = Literal["confirmed", "dropped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial that may end up in the bundle."""

    trial: int
    value: float  # in the search
    spec: TrialSpec


@dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """Which folds: `n_folds` of them, drawn anew for each of `n_seeds`."""

    n_folds: int
    n_seeds: int
    seed: int  # of the study

    def steps(self) -> list[tuple[int, int]]:
        """Return (replicate, fold) of each training, in the order in which they are run."""
        return [(replicate, index) for replicate in range(self.n_seeds) for index in range(self.n_folds)]

    def fold_seed(self, replicate: int) -> int:
        return derive(self.seed, "confirm", replicate)


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One training of a candidate: the rows held out, their scores, and how these were judged."""

    rows: np.ndarray  # (n_held_out,) of the pooled train and validation images
    scores: np.ndarray  # (n_held_out,)
    judgement: Judgement

    @property
    def value(self) -> float:
        return sum(self.judgement.values)


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A candidate after its folds; `steps` has those that ran, by their place in the plan."""

    candidate: Candidate
    steps: dict[int, FoldResult]
    fate: Fate
    message: str = ""

    @property
    def mean(self) -> float:
        return fmean(step.value for step in self.steps.values())

    @property
    def spread(self) -> float:
        """Standard deviation over the folds."""
        values = [step.value for step in self.steps.values()]
        return stdev(values) if len(values) > 1 else 0.0

    @property
    def mean_constraint(self) -> float:
        """Mean of FNR − ceiling over the folds: feasible when at most 0."""
        return fmean(step.judgement.constraint for step in self.steps.values())


def candidates(found: Sequence[FrozenTrial], top: int) -> list[Candidate]:
    """Return the best `top` feasible trials, best first; trials of the same spec count once."""
    unique: dict[str, Candidate] = {}
    for trial in records.ranked(list(found)):
        spec = codec.from_json(TrialSpec, trial.user_attrs["spec"])
        unique.setdefault(spec.digest, Candidate(trial=trial.number, value=sum(trial.values), spec=spec))
    return list(unique.values())[:top]


def confirm(
    rivals: Sequence[Candidate],
    jobs: Jobs,
    plan: FoldPlan,
    objective: ObjectiveSpec,
    arrays_for: Callable[[DataSpec], Path],
    say: Callable[[str], None],
) -> list[Confirmed]:
    """Return every candidate with its folds: the confirmed ones first, best first.

    Feasible on average comes before infeasible, then the higher mean value; among equals the better of the search.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        race = optuna.create_study(direction="maximize", pruner=WilcoxonPruner(p_threshold=PRUNING_P))
    found = []
    for rival in rivals:
        tasks = _tasks(rival, plan, objective, arrays_for(rival.spec.data))
        result = _run(rival, tasks, jobs, race)
        say(describe(result, len(tasks)))
        found.append(result)
    return sorted(found, key=_rank)


def describe(found: Confirmed, n_steps: int) -> str:
    """Return what became of a candidate, in a line."""
    name = f"trial {found.candidate.trial}"
    if found.fate == "failed":
        return f"{name}: failed: {found.message}"
    infeasible = (
        "" if found.mean_constraint <= 0 else f", FNR over the ceiling by {found.mean_constraint:.2%} on average"
    )
    ran = f"{found.mean:.4f} ± {found.spread:.4f} over {len(found.steps)} of {n_steps} folds{infeasible}"
    return f"{name}: {ran}" if found.fate == "confirmed" else f"{name}: {ran}; dropped, worse than the best so far"


def _tasks(rival: Candidate, plan: FoldPlan, objective: ObjectiveSpec, arrays: Path) -> list[RunFold]:
    return [
        RunFold(
            number=0,
            spec=rival.spec,
            objective=objective,
            seed=derive(plan.seed, rival.spec.digest, "confirm", replicate, index),
            arrays=str(arrays),
            n_folds=plan.n_folds,
            index=index,
            fold_seed=plan.fold_seed(replicate),
        )
        for replicate, index in plan.steps()
    ]


def _run(rival: Candidate, tasks: list[RunFold], jobs: Jobs, race: optuna.Study) -> Confirmed:
    trial = race.ask()
    steps: dict[int, FoldResult] = {}
    with closing(jobs.answers(tasks)) as answers:
        for position, answer in answers:
            if not isinstance(answer, Scored):
                race.tell(trial, state=TrialState.FAIL)
                return Confirmed(candidate=rival, steps=steps, fate="failed", message=_reason(answer))
            steps[position] = _judged(tasks[position], answer)
            trial.report(steps[position].value, position)
            if len(steps) < len(tasks) and trial.should_prune():
                race.tell(trial, state=TrialState.PRUNED)
                return Confirmed(candidate=rival, steps=steps, fate="dropped")
    found = Confirmed(candidate=rival, steps=steps, fate="confirmed")
    if found.mean_constraint <= 0:
        race.tell(trial, found.mean)
    else:  # the pruner compares with the best that is complete: no value of an infeasible one may drop a rival
        race.tell(trial, state=TrialState.FAIL)
    return found


def _judged(task: RunFold, answer: Scored) -> FoldResult:
    y, groups = folds.labels(Path(task.arrays))
    _, _, rows = folds.parts(y, groups, task.n_folds, task.index, task.fold_seed)
    scores = np.array(answer.scores)
    return FoldResult(rows=rows, scores=scores, judgement=operating.judge(y[rows], scores, task.objective))


def _reason(answer: TrialDone | TrialError) -> str:
    return f"{answer.reason}: {answer.message}" if isinstance(answer, TrialError) else "it gave no scores"


def _rank(found: Confirmed) -> tuple[bool, bool, float]:
    """Sort key; `sorted` keeps the order of the search among equals."""
    if found.fate != "confirmed":
        return True, True, 0.0
    return False, found.mean_constraint > 0, -found.mean
