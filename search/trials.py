"""One trial in the database: what is written when, which trials count, and how a lost one is queued again.

A killed trial ends as FAIL with a reason, and a WAITING copy with its parameters takes its place; `spent`
counts the copy only. Nothing of the dead run but its parameters is copied: Optuna's own retry would keep the
constraints and pruner rungs of the first run.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumo_core import codec
from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec

CONSTRAINT = "fnr_ceiling"
LOST, INTERRUPTED, CHILD_DIED = "lost", "interrupted", "child_died"
_ROOT, _HISTORY, _FIXED = "failed_trial", "retry_history", "fixed_params"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The coordinator that runs a trial: enough to tell on its own machine whether it still lives."""

    host: str
    pid: int
    started: str  # start time of the process in clock ticks since boot: tells a recycled pid

    def is_dead_here(self) -> bool:
        """Return True only for a coordinator of this machine that is gone; elsewhere the heartbeat tells."""
        return self.host == socket.gethostname() and _process_start(self.pid) != self.started


def this_process() -> Owner:
    return Owner(host=socket.gethostname(), pid=os.getpid(), started=_process_start(os.getpid()))


def begin(trial: optuna.Trial, spec: TrialSpec, owner: Owner) -> None:
    """Write what the trial is before it runs."""
    trial.set_user_attr("owner", codec.to_json(owner))
    trial.set_user_attr("spec", codec.to_json(spec))
    trial.set_user_attr("spec_digest", spec.digest)


def finish(study: optuna.Study, trial: optuna.Trial, result: TrialResult, **extra: Any) -> FrozenTrial:
    """Write constraint, metrics and environment, then tell: nothing can be written afterwards."""
    trial.set_constraint(CONSTRAINT, result.constraint)
    for name, value in (attributes(result) | extra).items():
        trial.set_user_attr(name, value)
    if result.stopped == "pruned":
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, list(result.values))


def attributes(result: TrialResult) -> dict[str, Any]:
    """Return the flat attributes that users and other tools read."""
    return {
        **codec.to_json(result.metrics),
        "seconds": result.seconds,
        "best_epoch": result.best_epoch,
        "n_epochs": result.n_epochs,
        "n_parameters": result.n_parameters,
        "stopped": result.stopped,
        "objective_values": list(result.values),
        "environment": dict(result.environment),
    }


def copy_of(trial: FrozenTrial) -> TrialResult:
    """Return the stored result of a finished trial, without scores and history, for a trial that repeats it."""
    attrs = trial.user_attrs
    return codec.from_json(
        TrialResult,
        {name: attrs[name] for name in ("seconds", "best_epoch", "n_epochs", "n_parameters", "stopped", "environment")}
        | {"metrics": {name: attrs[name] for name in ("recall", "specificity", "fnr", "auc", "pauc", "threshold")}}
        | {"values": attrs["objective_values"], "constraint": trial.constraints[CONSTRAINT]}
        | {"history": [], "scores": []},
    )


def fail(study: optuna.Study, number: int, reason: str, message: str) -> bool:
    """End a running trial as failed with its reason; return False when another process ended it first."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    try:
        study._storage.set_trial_user_attr(trial_id, "failure", {"reason": reason, "message": message})
        return bool(study._storage.set_trial_state_values(trial_id, state=TrialState.FAIL))
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the parameters of a failed trial again, remembering which trials it continues."""
    fixed = trial.system_attrs.get(_FIXED, {}) | trial.params
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            system_attrs={_FIXED: fixed, _ROOT: root(trial), _HISTORY: [*history(trial), trial.number]},
        )
    )


def root(trial: FrozenTrial) -> int:
    """Return the number of the first of the trials that `trial` continues: its own, if it is the first."""
    return int(trial.system_attrs.get(_ROOT, trial.number))


def history(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials that `trial` continues, oldest first."""
    return list(trial.system_attrs.get(_HISTORY, []))


def n_deaths(trial: FrozenTrial, trials: Mapping[int, FrozenTrial]) -> int:
    """Return how often this trial or one that it continues died by itself; interruptions don't count."""
    chain = [trials[number] for number in history(trial) if number in trials] + [trial]
    return sum(failure_reason(t) != INTERRUPTED for t in chain if t.state == TrialState.FAIL)


def failure_reason(trial: FrozenTrial) -> str | None:
    """Return why a failed trial failed; one that was left without a word counts as lost."""
    if trial.state != TrialState.FAIL:
        return None
    return str(trial.user_attrs.get("failure", {}).get("reason", LOST))


def current(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count: all but those that another trial continues."""
    found = list(trials)
    continued = {number for trial in found for number in history(trial)}
    return [trial for trial in found if trial.number not in continued]


def spent(trials: Iterable[FrozenTrial]) -> int:
    """Return how much of the budget is used: finished trials, failed ones included, each counted once."""
    return sum(trial.state.is_finished() for trial in current(trials))


def owner_of(trial: FrozenTrial) -> Owner | None:
    """Return who runs the trial; None when it died before that was written, or the entry is damaged."""
    try:
        return codec.from_json(Owner, trial.user_attrs.get("owner"))
    except ValueError:
        return None


def _process_start(pid: int) -> str:
    """Return the start time of process `pid`, empty when there is none or it is a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _process_start_elsewhere(pid)
    return "" if after_name[0] == "Z" else after_name[19]


def _process_start_elsewhere(pid: int) -> str:
    """Tell a live process on systems without /proc, where start times are not to be had."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
