"""From Optuna's trials to rows. What others may have written into the database is not trusted to have its type."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pneumo_core.scoring.operating import Metrics
from search import records, trials
from search.own_metrics import PREFIX
from search.report.data import State, TrialRow


def row(trial: FrozenTrial) -> TrialRow:
    """Return what a report needs of one trial."""
    attrs = trial.user_attrs
    failure = mapping(attrs.get("failure"))
    state = _state(trial)
    return TrialRow(
        number=trial.number,
        state=state,
        values=_values(trial),
        constraint=number(trial.constraints.get(trials.CONSTRAINT)),
        params=trials.shown_params(trial),
        metrics=_metrics(attrs),
        own_metrics=_own_metrics(attrs),
        reported={step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)},
        seconds=_seconds(trial),
        n_parameters=_whole(attrs.get("n_parameters")),
        n_epochs=_whole(attrs.get("n_epochs")),
        failure=str(failure.get("reason", trials.LOST)) if state == "failed" else "",
        message=str(failure.get("message", "")),
        repeats=_whole(attrs.get("repeats")),
        paused_px=None if trials.rung(trial) is None else _whole(attrs.get(trials.IMAGE_SIZE_PX)),
        environment=texts(attrs.get("environment")),
        began=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def nearest_to_feasible(found: Sequence[TrialRow]) -> TrialRow | None:
    """Return the trial that violates the ceiling least, complete ones before pruned ones; None without any.

    Trials that were paused on smaller images can't be compared with the others, and are left out.
    """
    judged = [r for r in found if r.metrics is not None and r.constraint is not None and r.paused_px is None]
    return min(judged, key=lambda r: (r.state == "pruned", r.constraint, -sum(r.values), r.number), default=None)


def top(found: Sequence[TrialRow], n: int) -> list[TrialRow]:
    """Return up to `n` complete trials: feasible ones by value, then infeasible ones by value."""
    complete = [r for r in found if r.state in ("feasible", "infeasible")]
    return sorted(complete, key=lambda r: (r.state != "feasible", -sum(r.values), r.number))[:n]


def number(value: Any) -> float | None:
    """Return `value` as a finite float, None for anything else."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts(value: Any) -> dict[str, str]:
    """Return a mapping as texts, empty for anything else."""
    return {str(key): str(item) for key, item in mapping(value).items()}


def _state(trial: FrozenTrial) -> State:
    match trial.state:
        case TrialState.COMPLETE:
            return "feasible" if records.is_feasible(trial) else "infeasible"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.FAIL:
            return "failed"
        case TrialState.RUNNING:
            return "running"
        case _:
            return "waiting"


def _seconds(trial: FrozenTrial) -> float | None:
    """Return the time of training; that of a failed trial, which reported none, from its start to its end."""
    known = number(trial.user_attrs.get("seconds"))
    if known is None and trial.state == TrialState.FAIL and trial.duration is not None:
        return trial.duration.total_seconds()
    return known


def _values(trial: FrozenTrial) -> tuple[float, ...]:
    """Return the objective values; Optuna keeps the last reported metric as the value of a pruned trial."""
    stored = trial.values if trial.state == TrialState.COMPLETE else trial.user_attrs.get("objective_values")
    if not isinstance(stored, list | tuple):
        return ()
    values = tuple(number(value) for value in stored)
    return tuple(value for value in values if value is not None) if None not in values else ()


def _metrics(attrs: Mapping[str, Any]) -> Metrics | None:
    found = {field.name: number(attrs.get(field.name)) for field in fields(Metrics)}
    measured = {name: value for name, value in found.items() if value is not None}
    return Metrics(**measured) if len(measured) == len(found) else None


def _own_metrics(attrs: Mapping[str, Any]) -> dict[str, float]:
    found = {key: number(value) for key, value in attrs.items() if key.startswith(PREFIX)}
    return {key.removeprefix(PREFIX): value for key, value in found.items() if value is not None}


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
