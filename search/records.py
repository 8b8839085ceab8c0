"""What a study came to: counts and the best feasible trial, the same for every command."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import trials
from search.storage.database import redacted

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best feasible trial; `value` is what the study maximises, the tie-break included."""

    number: int
    value: float
    recall: float
    fnr: float
    specificity: float
    threshold: float
    auc: float
    pauc: float
    params: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A study in numbers; retried trials count once."""

    study: str
    storage: str
    n_complete: int
    n_pruned: int
    n_failed: int
    n_running: int
    n_waiting: int
    failures: Mapping[str, int]  # by reason
    best: Best | None

    @property
    def n_finished(self) -> int:
        return self.n_complete + self.n_pruned + self.n_failed

    def to_json(self) -> dict[str, Any]:
        """Return the object that `launch --json` and `status --json` print."""
        best = self.best and {
            "number": self.best.number,
            "value": self.best.value,
            "fnr": self.best.fnr,
            "specificity": self.best.specificity,
            "threshold": self.best.threshold,
            "params": dict(self.best.params),
        }
        counts = {"complete": self.n_complete, "pruned": self.n_pruned, "failed": self.n_failed}
        return {"study": self.study, "storage": self.storage, "trials": counts, "best": best}


def summarise(study: optuna.Study, storage_url: str) -> Summary:
    """Return the summary of a stored study."""
    found = trials.current(study.get_trials(deepcopy=False))
    n = Counter(trial.state for trial in found)
    best = best_feasible(found)
    return Summary(
        study=study.study_name,
        storage=redacted(storage_url),
        n_complete=n[TrialState.COMPLETE],
        n_pruned=n[TrialState.PRUNED],
        n_failed=n[TrialState.FAIL],
        n_running=n[TrialState.RUNNING],
        n_waiting=n[TrialState.WAITING],
        failures=Counter(reason for trial in found if (reason := trials.failure_reason(trial))),
        best=_describe(best) if best else None,
    )


def ranked(found: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete feasible trials, best first; among equals the earlier one.

    With two objectives the one with the larger sum (recall + specificity, Youden's J + 1) comes first.
    """
    feasible = [trial for trial in found if trial.state == TrialState.COMPLETE and is_feasible(trial)]
    return sorted(feasible, key=lambda trial: (-sum(trial.values), trial.number))


def best_feasible(found: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the best feasible trial, None when no trial is feasible."""
    return next(iter(ranked(found)), None)


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether the trial meets its ceiling; unlike in Optuna, one without a constraint does not."""
    return bool(trial.constraints) and all(value <= 0 for value in trial.constraints.values())


def _describe(trial: FrozenTrial) -> Best:
    attrs = trial.user_attrs
    return Best(
        number=trial.number,
        value=trial.values[0],
        params=trial.params,
        **{name: float(attrs[name]) for name in ("recall", "fnr", "specificity", "threshold", "auc", "pauc")},
    )
