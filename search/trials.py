"""One trial in the database: what is written when, which trials count, and how a lost one is queued again.

A killed trial ends as FAIL with a reason, and a WAITING copy with its parameters takes its place; `spent`
counts the copy only. Nothing of the dead run but its parameters and its place in a grid is copied: Optuna's own
retry would keep the constraints and pruner rungs of the first run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumo_core import codec
from pneumo_core.specs import TrialSpec
from pneumo_core.tuner.dialogue import DRAWN
from search.grid import GRID_ID
from search.storage import owner
from search.storage.owner import Owner
from search.storage.patience import PatientStorage
from spaces.base import Scalar

if TYPE_CHECKING:  # `pneumo status` does without
    from pneumo_core.result import TrialResult

CONSTRAINT = "fnr_ceiling"
RUNG, IMAGE_SIZE_PX = "rung", "image_size_px"  # attributes of a trial that was paused: where, on what images
N_FINISHED = "n_finished"  # attribute of a finished trial: how many of the study were finished by then, itself included
PREFERENCE, VALUE_SE = "preference", "value_se"  # see `records.ranked`
REACHED = "n_epochs_reached"  # attribute of a trial of a study with two objectives, which has no reports
LOST, INTERRUPTED, CHILD_DIED, OUT_OF_MEMORY = "lost", "interrupted", "child_died", "out_of_memory"
DISK_FULL = "disk_full"
UNBUILDABLE = {"bad_spec", "failed_trial"}  # points of the space that make no trial: nothing is wrong with the rest
BAD_ARRAYS = "bad_arrays"  # something damaged what the trainer reads; it is made anew before the next trial
RETRIED = {LOST, INTERRUPTED, CHILD_DIED, DISK_FULL, BAD_ARRAYS}
_ROOT, _HISTORY, _FIXED, _ALONE, _STAGE = "failed_trial", "retry_history", "fixed_params", "alone", "stage"
_ENDED_EARLY = ("pruned", "paused")  # both are PRUNED to Optuna


def begin(trial: optuna.Trial, spec: TrialSpec, mine: Owner, preference: Sequence[float] = ()) -> None:
    """Write what the trial is before it runs; `preference` decides between trials that validation can't rank."""
    known = {owner.ATTRIBUTE: codec.to_json(mine), "spec": codec.to_json(spec), "spec_digest": spec.digest}
    _write(trial, known | ({PREFERENCE: list(preference)} if preference else {}))


def beat(trial: optuna.Trial, mine: Owner) -> None:
    """Write who runs the trial, and the number of heartbeats. Raises `UpdateFinishedTrialError` when it ended."""
    trial.set_user_attr(owner.ATTRIBUTE, codec.to_json(mine))


def finish(study: optuna.Study, trial: optuna.Trial, result: "TrialResult", **extra: Any) -> None:
    """Write constraint, metrics and environment, then tell: nothing can be written afterwards.

    Raises `UpdateFinishedTrialError` when another coordinator ended the trial.
    """
    _write(trial, attributes(result) | extra, {f"constraints:{CONSTRAINT}": result.constraint})
    pruned = result.stopped in _ENDED_EARLY
    try:
        ended = study.tell(
            trial,
            None if pruned else list(result.values),
            state=TrialState.PRUNED if pruned else None,
            skip_if_finished=True,
        )
    except optuna.exceptions.UpdateFinishedTrialError:  # perhaps by this very call, whose connection broke afterwards
        ended = study._storage.get_trial(trial._trial_id)
    if ended.state == TrialState.FAIL:
        raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial.number} was failed by another coordinator")


def _write(trial: optuna.Trial, user: Mapping[str, Any], system: Mapping[str, Any] | None = None) -> None:
    """Write attributes of a trial, at once where they are in a database."""
    trial._cached_frozen_trial.user_attrs.update(user)  # which a pruner is shown
    storage: Any = getattr(trial.storage, "_backend", trial.storage)
    if isinstance(storage, PatientStorage):
        storage.set_trial_attributes(trial._trial_id, user, system or {})
        return
    for name, value in user.items():
        storage.set_trial_user_attr(trial._trial_id, name, value)
    for name, value in (system or {}).items():
        storage.set_trial_system_attr(trial._trial_id, name, value)


def attributes(result: "TrialResult") -> dict[str, Any]:
    """Return the flat attributes that users and other tools read."""
    return {
        **codec.to_json(result.metrics),
        "seconds": result.seconds,
        "best_epoch": result.best_epoch,
        "n_epochs": result.n_epochs,
        "n_parameters": result.n_parameters,
        "stopped": result.stopped,
        "objective_values": list(result.values),
        VALUE_SE: result.value_se,
        "environment": dict(result.environment),
    } | ({} if result.n_folds is None else {"n_folds": result.n_folds})


def twin(found: Iterable[FrozenTrial], spec_digest: str) -> FrozenTrial | None:
    """Return the finished trial of that spec that was trained furthest, the earliest of several; None without any."""
    same = [
        t
        for t in found
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and t.user_attrs.get("spec_digest") == spec_digest
        and CONSTRAINT in t.constraints
    ]
    return max(same, key=lambda t: (t.state == TrialState.COMPLETE, t.user_attrs.get("n_epochs", 0)), default=None)


def copy_of(trial: FrozenTrial) -> "TrialResult":
    """Return the stored result of a finished trial, without scores and history, for a trial that repeats it."""
    from pneumo_core.result import TrialResult

    attrs = trial.user_attrs
    return codec.from_json(
        TrialResult,
        {name: attrs[name] for name in ("seconds", "best_epoch", "n_epochs", "n_parameters", "stopped", "environment")}
        | {"metrics": {name: attrs[name] for name in ("recall", "specificity", "fnr", "auc", "pauc", "threshold")}}
        | {"values": attrs["objective_values"], "constraint": trial.constraints[CONSTRAINT]}
        | {"history": [], "scores": [], "n_folds": attrs.get("n_folds"), "value_se": attrs.get(VALUE_SE, 0.0)},
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
    _queue(study, trial, stage(trial), is_alone(trial) or failure_reason(trial) == OUT_OF_MEMORY)


def promote(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the next stage of a paused trial, remembering which trials it continues."""
    _queue(study, trial, stage(trial) + 1, is_alone(trial))


def _queue(study: optuna.Study, trial: FrozenTrial, stage: int, alone: bool) -> None:
    fixed = trial.system_attrs.get(_FIXED, {}) | trial.params
    attrs: dict[str, Any] = {_FIXED: fixed, _ROOT: root(trial), _HISTORY: [*history(trial), trial.number]}
    attrs |= ({_STAGE: stage} if stage else {}) | ({_ALONE: True} if alone else {})
    attrs |= {GRID_ID: trial.system_attrs[GRID_ID]} if GRID_ID in trial.system_attrs else {}
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=attrs))


def stage(trial: FrozenTrial) -> int:
    """Return which stage of a study with cheap trials first this trial is; 0 is the cheapest."""
    return int(trial.system_attrs.get(_STAGE, 0))


def rung(trial: FrozenTrial) -> int | None:
    """Return the rung at whose end the trial was paused, None for any other; those that repeat one are at none."""
    found = trial.user_attrs.get(RUNG)
    return found if trial.state == TrialState.PRUNED and isinstance(found, int) else None


def is_alone(trial: FrozenTrial) -> bool:
    """Return whether the trial must have its device to itself: it ran out of memory beside others."""
    return bool(trial.system_attrs.get(_ALONE, False))


def root(trial: FrozenTrial) -> int:
    """Return the number of the first of the trials that `trial` continues: its own, if it is the first."""
    return int(trial.system_attrs.get(_ROOT, trial.number))


def history(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials that `trial` continues, oldest first."""
    return list(trial.system_attrs.get(_HISTORY, []))


def n_deaths(trial: FrozenTrial, trials: Mapping[int, FrozenTrial]) -> int:
    """Return how often this trial or one that it continues died by itself without an epoch more than those before.

    Interruptions don't count, nor do preemptions that leave it further than it was.
    """
    n, furthest = 0, 0
    for t in [trials[number] for number in history(trial) if number in trials] + [trial]:
        n += t.state == TrialState.FAIL and failure_reason(t) != INTERRUPTED and n_reached(t) <= furthest
        furthest = max(furthest, n_reached(t))
    return n


def n_reached(trial: FrozenTrial) -> int:
    """Return how many epochs (or folds) the trial reported."""
    return max(max(trial.intermediate_values, default=-1) + 1, int(trial.user_attrs.get(REACHED, 0)))


def shown_params(trial: FrozenTrial) -> dict[str, Scalar]:
    """Return the parameters as the model has them, without the numbers that a sampler drew to make some of them."""
    return {name: value for name, value in trial.params.items() if not name.endswith(DRAWN)}


def failure_reason(trial: FrozenTrial) -> str | None:
    """Return why a failed trial failed; one without a reason counts as lost."""
    if trial.state != TrialState.FAIL:
        return None
    return str(trial.user_attrs.get("failure", {}).get("reason", LOST))


def failure_message(trial: FrozenTrial) -> str:
    """Return the message of a failed trial, "" where it has none."""
    return str(trial.user_attrs.get("failure", {}).get("message", ""))


def current(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count: all but those that another trial continues."""
    found = list(trials)
    continued = {number for trial in found for number in history(trial)}
    return [trial for trial in found if trial.number not in continued]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The trials of a study by their state, as `ledger` reads them."""

    every: list[FrozenTrial]  # that the ledger was made from
    running: list[FrozenTrial]
    waiting: list[FrozenTrial]  # to continue: those that failed, and those promoted; new points aren't among them
    retriable: list[FrozenTrial]  # failed, and to be queued again
    finished: list[FrozenTrial]  # for good or paused, each that another continues left out, by number

    @property
    def n_taken(self) -> int:
        """How much of the budget is used or in work."""
        return len(self.finished) + len(self.running)


def ledger(trials: Iterable[FrozenTrial], max_retries: int) -> Ledger:
    """Sort the trials that count by what is left to do; points that were not begun are not in it."""
    known = {trial.number: trial for trial in trials}
    counted = current(known.values())
    retriable = {t.number: t for t in counted if t.state == TrialState.FAIL and may_retry(t, known, max_retries)}
    return Ledger(
        every=list(known.values()),
        waiting=[t for t in counted if t.state == TrialState.WAITING and history(t)],
        running=[t for t in counted if t.state == TrialState.RUNNING],
        retriable=list(retriable.values()),
        finished=[t for t in counted if t.state.is_finished() and t.number not in retriable],
    )


def may_retry(trial: FrozenTrial, known: Mapping[int, FrozenTrial], max_retries: int) -> bool:
    """Return whether a failed trial is to run again: killed ones `max_retries` times, and one that ran out of
    memory once, alone."""
    reason = failure_reason(trial)
    if reason == OUT_OF_MEMORY:
        return not is_alone(trial)
    return reason in RETRIED and n_deaths(trial, known) <= max_retries
