"""KerasTuner's `HyperParameters`, whose new parameters are asked for instead of taking their default."""

import math
from collections.abc import Callable
from typing import Any

from keras_tuner.engine import hyperparameters as kt

from pneumo_core.tuner.dialogue import DRAWN, Question, Scalar

Ask = Callable[[Question], Scalar]


class AskingHyperParameters(kt.HyperParameters):  # type: ignore[misc]
    """Asks for an active parameter when it is first met; all else is KerasTuner's own.

    What is in `values` before wins, a parameter with one possible value is not asked for, and an inactive one is None.
    """

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask

    def _register(self, hyperparameter: Any, overwrite: bool = False) -> Any:
        name = hyperparameter.name
        if not overwrite and name not in self.values and self.is_active(hyperparameter):
            self.values[name] = _asked(hyperparameter, self._ask)
        return super()._register(hyperparameter, overwrite)


def qualified_name(hyperparameter: Any) -> str:
    """Return the name with the conditions, since KerasTuner distinguishes parameters by both: "units [model=mlp]"."""
    conditions = [f"{c.name}={'|'.join(map(str, c.values))}" for c in hyperparameter.conditions]
    return f"{hyperparameter.name} [{', '.join(conditions)}]" if conditions else str(hyperparameter.name)


def _asked(hp: Any, ask: Ask) -> Any:
    name = qualified_name(hp)
    if isinstance(hp, kt.Fixed):
        return hp.value
    if isinstance(hp, kt.Boolean):
        return bool(ask(Question(type="categorical", name=name, choices=(False, True))))
    if isinstance(hp, kt.Choice):
        choices = tuple(dict.fromkeys(hp.values))
        return choices[0] if len(choices) == 1 else ask(Question(type="categorical", name=name, choices=choices))
    if isinstance(hp, kt.Int | kt.Float):
        return _number(hp, name, ask)
    raise TypeError(f"parameter `{hp.name}` is a {type(hp).__name__}, which can't be searched: use Int, Float, Choice")


def _number(hp: Any, name: str, ask: Ask) -> Any:
    if hp.min_value == hp.max_value:
        return hp.min_value
    if hp.step is not None and hp.sampling != "linear":
        return _by_index(hp, name, ask)
    if hp.sampling == "reverse_log":
        share = float(ask(Question(type="float", name=name + DRAWN, low=0.0, high=1.0)))
        value = hp.prob_to_value(min(share, math.nextafter(1.0, 0.0)))  # of [0, 1)
        return _made(hp, name, min(max(value, hp.min_value), hp.max_value), ask)  # it rounds past both ends
    high = hp.max_value if hp.step is None else hp.min_value + (_n_values(hp) - 1) * hp.step
    if high == hp.min_value:
        return hp.min_value
    type_, convert = ("int", int) if isinstance(hp, kt.Int) else ("float", float)
    question = Question(
        type=type_,  # type: ignore[arg-type]
        name=name,
        low=hp.min_value,
        high=high,
        step=hp.step,
        log=hp.sampling == "log",
    )
    return convert(ask(question))


def _by_index(hp: Any, name: str, ask: Ask) -> Any:
    """Ask which of the values that a multiplying step leaves: Optuna has no step on a log scale."""
    n = _n_values(hp)
    if n == 1:
        return hp.prob_to_value(0.5)
    index = int(ask(Question(type="int", name=name + DRAWN, low=0, high=n - 1, step=1)))
    return _made(hp, name, hp.prob_to_value((index + 0.5) / n), ask)


def _made(hp: Any, name: str, value: Any, ask: Ask) -> Any:
    """Ask for the value itself as well, one being possible, so that it is what is stored and shown.

    A queued point may have another one. Raises `ValueError` for one out of range.
    """
    is_int = isinstance(hp, kt.Int)
    type_, step = ("int", 1) if is_int else ("float", None)
    given = ask(Question(type=type_, name=name, low=value, high=value, step=step))  # type: ignore[arg-type]
    if not hp.min_value <= given <= hp.max_value:
        raise ValueError(f"`{hp.name}` must be in [{hp.min_value}, {hp.max_value}], got {given}")
    return int(given) if is_int else float(given)


def _n_values(hp: Any) -> int:
    return len(tuple(hp.values))
