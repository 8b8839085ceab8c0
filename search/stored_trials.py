"""The trials of a stored study, each checked where it is read.

Trials that another program put into the study are left out and counted. One of ours that is damaged raises a
`StudyError` that names the trial and the field.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from pneumo_core import codec
from pneumo_core.errors import StudyError
from pneumo_core.specs import DataSpec, TrialSpec
from search.home import is_id
from search.stored import LARGEST, Section, is_whole, undamaged

T = TypeVar("T")

JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
METRICS = ("recall", "specificity", "fnr", "auc", "pauc", "threshold")
RESULT = (*METRICS, "seconds", "best_epoch", "n_epochs", "n_parameters", "stopped", "objective_values", "environment")


@dataclass(frozen=True)
class Trials:
    """The trials of a study that this program made, in the order of the database, and how many others there are."""

    ours: list[FrozenTrial]
    n_foreign: int = 0

    @property
    def n(self) -> int:
        return len(self.ours) + self.n_foreign


@dataclass
class Reader:
    """Reads a study's trials again and again; each that has ended is checked once.

    Errors of the database itself pass, so that the caller can wait for it and try again.
    """

    study: optuna.Study
    _checked: dict[int, bool] = field(default_factory=dict)  # whether ours, of those that ended, by Optuna's id
    _n_values: int = 0

    def __call__(self) -> Trials:
        """Return the trials now. Raises `StudyError` where one is damaged."""
        with undamaged(self.study.study_name):
            every = self.study.get_trials(deepcopy=False)
            self._n_values = self._n_values or len(self.study.directions)
        continued = {number for trial in every for number in _history(trial)}
        ours = [trial for trial in every if self._is_ours(trial, continued)]
        return Trials(ours=ours, n_foreign=len(every) - len(ours))

    def _is_ours(self, trial: FrozenTrial, continued: set[int]) -> bool:
        if trial._trial_id in self._checked:
            return self._checked[trial._trial_id]
        mine = _is_ours(trial) or trial.number in continued
        if mine:
            _check(self.study.study_name, trial, self._n_values)
        if trial.state.is_finished():
            self._checked[trial._trial_id] = mine
        return mine


def trials_of(study: optuna.Study) -> Trials:
    """Return the trials of a study. Raises `StudyError` where one is damaged."""
    return Reader(study)()


def complete_of(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials of a study that any program may have made, as Optuna reads them."""
    with undamaged(study.study_name):
        return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trial_of(study: optuna.Study, number: int) -> FrozenTrial:
    """Return one trial by its number. Raises `StudyError` where there is none of ours."""
    found = trials_of(study).ours
    for trial in found:
        if trial.number == number:
            return trial
    raise StudyError(f"study {study.study_name!r} has no trial {number}; it has {len(found)}")


def spec_of(study: str, trial: FrozenTrial) -> TrialSpec:
    """Return what a trial trained. Raises `StudyError` where it has not begun or its specification is damaged."""
    return _decoded(study, trial, TrialSpec, _stored_spec(study, trial), "spec")


def data_of(study: str, trial: FrozenTrial) -> DataSpec:
    """Return the images that a trial trained on; raises as `spec_of` does."""
    return _decoded(study, trial, DataSpec, _stored_spec(study, trial).get("data"), "spec.data")


def _stored_spec(study: str, trial: FrozenTrial) -> Section:
    found = trial.user_attrs.get("spec")
    if not isinstance(found, Mapping):
        raise StudyError(f"trial {trial.number} of study {study!r} has not begun")
    return found


def _decoded(study: str, trial: FrozenTrial, kind: type[T], found: Any, name: str) -> T:
    try:
        return codec.from_json(kind, found)
    except ValueError as error:
        raise _damaged(study, trial, name, f"can't be used: {error}") from error


def _is_ours(trial: FrozenTrial) -> bool:
    """Return whether this program put the trial there: it says what is trained before it trains it, and why it failed.

    One that waits may have been queued by anyone, and one that runs may just have been asked for.
    """
    if trial.state in JUDGED:
        return "spec" in trial.user_attrs
    return trial.state != TrialState.FAIL or bool({"failure", "owner", "spec"} & trial.user_attrs.keys())


def _check(study: str, trial: FrozenTrial, n_values: int) -> None:
    """Raise `StudyError` naming the field unless everything that this program reads of the trial has its type."""
    for kind, found in (("user", trial.user_attrs), ("system", trial.system_attrs)):
        for name, value in found.items():
            holds, what = _rule(kind, name)
            if not holds(value):
                raise _damaged(study, trial, name, f"must be {what}, got {codec.shown(value)}")
    if trial.state in JUDGED:
        for name in RESULT:
            if name not in trial.user_attrs:
                raise _damaged(study, trial, name, "is missing")
    if trial.state == TrialState.COMPLETE and len(trial.values or ()) != n_values:
        raise _damaged(study, trial, "values", f"must be {n_values}, got {trial.values}")
    if any(number >= trial.number for number in _history(trial)):
        raise _damaged(study, trial, "retry_history", f"must name earlier trials, got {_history(trial)}")
    for name, value in trial.params.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise _damaged(study, trial, f"params.{name}", f"must be finite, got {value}")


def _damaged(study: str, trial: FrozenTrial, name: str, what: str) -> StudyError:
    return StudyError(
        f"trial {trial.number} of study {study!r} is damaged or was changed by another program: its `{name}` {what}"
    )


def _history(trial: FrozenTrial) -> list[int]:
    found = trial.system_attrs.get("retry_history", [])
    return found if _is_numbers(found) else []


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(is_whole, value))


def _is_floats(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_finite, value))


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_failure(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value.values()))


def _is_anything(_: object) -> bool:
    return True


Rule = tuple[Callable[[object], bool], str]
WHOLE, FINITE, TEXT, OBJECT, ANYTHING = (
    (is_whole, "a whole number"),
    (_is_finite, "a finite number"),
    (_is_text, "a text"),
    (_is_object, "an object"),
    (_is_anything, "anything"),
)
_RULES: Mapping[tuple[str, str], Rule] = {
    **{("user", name): FINITE for name in (*METRICS, "seconds", "value_se")},
    **{("user", name): WHOLE for name in ("best_epoch", "n_epochs", "n_parameters", "repeats", "rung", "n_finished")},
    **{("user", name): WHOLE for name in ("image_size_px", "n_folds", "n_epochs_reached", "place_in_queue")},
    **{("user", name): TEXT for name in ("stopped",)},
    **{("user", name): OBJECT for name in ("spec", "environment", "failed_metrics")},
    ("user", "spec_digest"): (is_id, "16 hexadecimal digits"),
    ("user", "failure"): (_is_failure, "an object of texts"),
    ("user", "preference"): (_is_floats, "a list of finite numbers"),
    ("user", "objective_values"): (_is_floats, "a list of finite numbers"),
    **{("system", name): WHOLE for name in ("failed_trial", "stage", "grid_id")},
    **{("system", name): OBJECT for name in ("fixed_params", "search_space")},
    ("system", "retry_history"): (_is_numbers, "a list of trials' numbers"),
    ("system", "alone"): (lambda value: isinstance(value, bool), "true or false"),
}
_PREFIXES: Mapping[tuple[str, str], Rule] = {
    ("user", "metric_"): FINITE,
    ("system", "constraints:"): FINITE,
}


@cache
def _rule(kind: str, name: str) -> Rule:
    begun = next((rule for (k, start), rule in _PREFIXES.items() if k == kind and name.startswith(start)), ANYTHING)
    return _RULES.get((kind, name), begun)
