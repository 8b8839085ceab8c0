"""Cheap trials first: which paused trial continues with larger images, and what each stage trains on.

The rule is that of asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning", algorithm 2). Nothing is stored for it: which rung a trial reached, and whether it was promoted, follows from
the trials.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from pneumo_core.specs import DataSpec, Stage, TrialSpec
from search import trials
from search.trials import Ledger
from studies.spec import FidelitySpec


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A configuration that was paused at the end of a rung."""

    trial: int  # its number there
    root: int  # number of the configuration's first trial
    value: float  # of the pruning metric when the rung ended
    is_promoted: bool


def next_trial(rungs: Sequence[Sequence[Reached]], reduction_factor: int, n_settled: int = 0) -> int | None:
    """Return the number of the trial to promote now, None when none is ready.

    `rungs` come from the cheapest up. Wherever `reduction_factor` trials reached a rung, the best of them continues,
    looked for from the highest rung down. The lowest `n_settled` rungs are those that no other trial can reach any
    more: of these the share that continues is rounded up, from the lowest rung up, so that small studies also train a
    trial to its end.
    """
    for reached in reversed(rungs):
        if (found := _best_left(reached, len(reached) // reduction_factor)) is not None:
            return found
    for reached in rungs[:n_settled]:
        if (found := _best_left(reached, math.ceil(len(reached) / reduction_factor))) is not None:
            return found
    return None


def _best_left(reached: Sequence[Reached], n_best: int) -> int | None:
    best = sorted(reached, key=lambda r: (-r.value, r.root))[:n_best]
    return next((r.trial for r in best if not r.is_promoted), None)


def of_study(ledger: Ledger, fidelity: FidelitySpec, *, begins_more: bool) -> int | None:
    """Return the number of the trial to promote now; `begins_more` says that the study will begin other ones."""
    unfinished = [trials.stage(trial) for trial in (*ledger.running, *ledger.waiting)]
    n_settled = 0 if begins_more else min(unfinished, default=fidelity.n_rungs)
    return next_trial(reached(ledger.every, fidelity.n_rungs), fidelity.reduction_factor, n_settled)


def reached(found: Iterable[FrozenTrial], n_rungs: int) -> list[list[Reached]]:
    """Return who reached each rung; without those that failed later on, so that another may take their place."""
    every = list(found)
    current = trials.current(every)
    counted = {trial.number for trial in current}
    failed = {trials.root(trial) for trial in current if trial.state == TrialState.FAIL}
    rungs: list[list[Reached]] = [[] for _ in range(n_rungs)]
    for trial in every:
        rung, root = trials.rung(trial), trials.root(trial)
        if rung is None or rung >= n_rungs or root in failed or not trial.intermediate_values:
            continue
        value = trial.intermediate_values[max(trial.intermediate_values)]
        promoted = trial.number not in counted
        rungs[rung].append(Reached(trial=trial.number, root=root, value=value, is_promoted=promoted))
    return rungs


def stage_of(fidelity: FidelitySpec | None, spec: TrialSpec, index: int) -> tuple[Stage, DataSpec]:
    """Return stage `index` of a trial, and the images that it is trained on. Raises `ValueError`; see `check`."""
    if fidelity is None:
        return Stage(), spec.data
    fidelity.check(spec)
    data = fidelity.data_at(spec, index)
    if index >= fidelity.n_rungs:
        return Stage(index=index), data
    rung = fidelity.rungs[index]
    return Stage(index=index, until_epoch=rung.epochs, patients=rung.patients), data


def images_wanted(fidelity: FidelitySpec | None, specs: Iterable[TrialSpec]) -> set[DataSpec]:
    """Return all that `specs` are trained on, in any stage."""
    n_stages = 1 if fidelity is None else fidelity.n_rungs + 1
    return {stage_of(fidelity, spec, index)[1] for spec in specs for index in range(n_stages)}
