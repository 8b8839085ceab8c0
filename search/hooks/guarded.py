"""Hooks of a study, found by name and kept from doing harm: one that fails costs a line, never the search."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from pneumo_core.errors import UserError, nearest
from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search.records import Best
from search.watching.views import View
from studies.spec import Hook, StudySpec

NAMED = {
    "mlflow": "search.hooks.mlflow:MLflow",
    "tensorboard": "search.hooks.tensorboard:TensorBoard",
    "wandb": "search.hooks.wandb:Wandb",
}
Say = Callable[[str], None]


@dataclass
class Guarded(View):
    """A hook of which only the events are called that it has, and whose failures are said once each."""

    hook: Any
    say: Say
    _said: set[str] = field(default_factory=set)

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        self._call("study_began", study, spec)

    def started(self, number: int, spec: TrialSpec) -> None:
        self._call("started", number, spec)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._call("epoch", number, epoch, dict(metrics))

    def finished(self, number: int, result: TrialResult) -> None:
        self._call("finished", number, result)

    def failed(self, number: int, reason: str, message: str) -> None:
        self._call("failed", number, reason, message)

    def ended(self, number: int, what: str) -> None:
        self._call("ended", number, what)

    def new_best(self, best: Best) -> None:
        self._call("new_best", best)

    def study_ended(self, why: str) -> None:
        self._call("study_ended", why)

    def _call(self, event: str, *args: Any) -> None:
        method = getattr(self.hook, event, None)
        if method is None:
            return
        try:
            method(*args)
        except Exception as error:
            text = f"hook {type(self.hook).__name__}: {event} failed: {type(error).__name__}: {error}"
            if text not in self._said:
                self._said.add(text)
                self.say(text)


def found(hooks: Sequence[Hook]) -> list[Any]:
    """Return the hooks that a study names, each made where it is the name of a class.

    Raises `UserError` for a name that leads nowhere, and for a package that isn't installed.
    """
    return [_made(hook) if isinstance(hook, str) else hook for hook in hooks]


def _made(name: str) -> Any:
    module, _, attribute = NAMED.get(name, name).partition(":")
    if not attribute:
        raise UserError(f"hook {name!r} must be written as 'module:Name'{nearest(name, NAMED)}")
    try:
        hook = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"hook {name!r} is not there: {error}") from error
    return hook() if isinstance(hook, type) else hook
