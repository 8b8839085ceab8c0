"""Hooks of a study, found by name; one that fails costs a line of output, never the search."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pneumo_core.errors import UserError, nearest
from search.watching.views import Relay
from studies.spec import EVENTS, Hook

NAMED = {
    "mlflow": "search.hooks.mlflow:MLflow",
    "tensorboard": "search.hooks.tensorboard:TensorBoard",
    "wandb": "search.hooks.wandb:Wandb",
}
Say = Callable[[str], None]


@dataclass
class Guarded(Relay):
    """A hook: calls only the methods that it has, and reports each of its failures once."""

    hook: Any
    say: Say
    _said: set[str] = field(default_factory=set)

    def event(self, name: str, *arguments: Any) -> None:
        method = getattr(self.hook, name, None)
        if method is None or name not in EVENTS:
            return
        try:
            method(*arguments)
        except Exception as error:
            text = f"hook {type(self.hook).__name__}: {name} failed: {type(error).__name__}: {error}"
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
