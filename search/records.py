"""The state of a study: counts and the best feasible trial, the same for every command."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pneumo_core import codec
from search import promotion, stored, trials
from search.storage.database import redacted
from search.stored_trials import Reader, Trials
from studies.spec import FidelitySpec

Scalar = str | int | float | bool | None

FIGURES = ("recall", "fnr", "specificity", "auc", "pauc", "threshold")


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
    value_se: float = 0.0  # over patients; 0: unknown
    tied: tuple[int, ...] = ()  # other trials that validation cannot tell from it, see `tied`


@dataclass(frozen=True, kw_only=True)
class RungCount:
    """How many configurations were paused at a rung of a study with cheap trials first, and how many continued."""

    scale: float  # of the trial's own image size
    epochs: int
    n_reached: int
    n_promoted: int


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
    messages: Mapping[str, str] = field(default_factory=dict)  # of the last failure of each reason
    best: Best | None
    rungs: tuple[RungCount, ...] = ()  # the cheapest first; paused trials are among the pruned ones
    n_foreign: int = 0  # trials that another program put into the study; they count nowhere

    @property
    def n_finished(self) -> int:
        return self.n_complete + self.n_pruned + self.n_failed

    def to_json(self) -> dict[str, Any]:
        """Return the object that `launch --json` and `status --json` print."""
        best = self.best and {
            "number": self.best.number,
            "value": self.best.value,
            **{name: getattr(self.best, name) for name in FIGURES},
            "value_se": self.best.value_se,
            "tied": list(self.best.tied),
            "params": dict(self.best.params),
        }
        counts = {"complete": self.n_complete, "pruned": self.n_pruned, "failed": self.n_failed}
        failures = {
            reason: {"trials": n, "last_message": self.messages.get(reason, "")} for reason, n in self.failures.items()
        }
        return {
            "study": self.study,
            "storage": self.storage,
            "trials": counts | ({"foreign": self.n_foreign} if self.n_foreign else {}),
            "open": {"running": self.n_running, "waiting": self.n_waiting},
            "failures": failures,
            **({"rungs": [codec.to_json(rung) for rung in self.rungs]} if self.rungs else {}),
            "best": best,
        }


def summarise(study: optuna.Study, storage_url: str, reader: Callable[[], Trials] | None = None) -> Summary:
    """Return the summary of a stored study; `reader` reads its trials otherwise. Raises `StudyError` if damaged."""
    read = (reader or Reader(study))()
    found = trials.current(read.ours)
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
        messages={reason: trials.failure_message(trial) for trial in found if (reason := trials.failure_reason(trial))},
        best=describe(best, tied(found)) if best else None,
        rungs=_rungs(stored.read(study).fidelity, read.ours),
        n_foreign=read.n_foreign,
    )


def _rungs(fidelity: FidelitySpec | None, every: list[FrozenTrial]) -> tuple[RungCount, ...]:
    if fidelity is None:
        return ()
    return tuple(
        RungCount(
            scale=rung.scale,
            epochs=rung.epochs,
            n_reached=len(reached),
            n_promoted=sum(one.is_promoted for one in reached),
        )
        for rung, reached in zip(fidelity.rungs, promotion.reached(every, fidelity.n_rungs), strict=True)
    )


def ranked(found: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete feasible trials, best first; among equals the earlier one.

    Those that validation cannot tell from the best (`tied`) come in the order that the study prefers, where it states
    one. With two objectives the one with the larger sum (recall + specificity, Youden's J + 1) comes first.
    """
    feasible = _by_value(found)
    first = sorted(_tied(feasible), key=lambda trial: [-wish for wish in trial.user_attrs.get(trials.PREFERENCE, [])])
    return first + feasible[len(first) :]


def tied(found: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials whose value is within one standard error over patients of the best one's, that one included.

    Their order in value is noise (the rule of one standard error: Breiman et al. 1984, "Classification and Regression
    Trees", 3.4.3). With two objectives there is no such error.
    """
    return _tied(_by_value(found))


def _by_value(found: list[FrozenTrial]) -> list[FrozenTrial]:
    feasible = [trial for trial in found if trial.state == TrialState.COMPLETE and is_feasible(trial)]
    return sorted(feasible, key=lambda trial: (-sum(trial.values), trial.number))


def _tied(best_first: list[FrozenTrial]) -> list[FrozenTrial]:
    if not best_first or len(best_first[0].values) > 1:
        return best_first[:1]
    best = best_first[0]
    least = best.values[0] - float(best.user_attrs.get(trials.VALUE_SE, 0.0))
    return [trial for trial in best_first if trial.values[0] >= least]


def best_feasible(found: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the best feasible trial, None when no trial is feasible."""
    return next(iter(ranked(found)), None)


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether the trial meets its ceiling; unlike in Optuna, one without a constraint does not."""
    return bool(trial.constraints) and all(value <= 0 for value in trial.constraints.values())


def describe(trial: FrozenTrial, equals: Iterable[FrozenTrial] = ()) -> Best:
    """Return what is shown of a complete trial; `equals` are those that validation cannot rank against it."""
    attrs = trial.user_attrs
    return Best(
        number=trial.number,
        value=trial.values[0],
        params=trials.shown_params(trial),
        value_se=float(attrs.get(trials.VALUE_SE, 0.0)),
        tied=tuple(sorted(other.number for other in equals if other.number != trial.number)),
        **{name: float(attrs[name]) for name in FIGURES},
    )
