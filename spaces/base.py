"""What a space may ask for: the `Suggest` protocol, and the suggesters that are not a search."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from pneumo_core.errors import StudyError, nearest
from pneumo_core.tuner.dialogue import DRAWN

Scalar = str | int | float | bool | None
T = TypeVar("T")
_STORABLE = (str, int, float, bool, type(None))


class Suggest(Protocol):
    """Draws one value a name. `optuna.Trial` satisfies it; the meaning of the arguments is Optuna's."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a space asked for under one name."""

    kind: str  # float, int or categorical
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Scalar, ...] = ()

    def __str__(self) -> str:
        if self.kind == "categorical":
            return "one of " + ", ".join(map(str, self.choices))
        scale = ", log scale" if self.log else ""
        step = f", step {self.step:g}" if self.step not in (None, 1) else ""
        return f"{self.kind} in [{self.low:g}, {self.high:g}]{scale}{step}"

    def contains(self, value: Scalar) -> bool:
        if self.kind == "categorical":
            return any(value == c and type(value) is type(c) for c in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or self.low is None or self.high is None:
            return False
        return self.low <= value <= self.high and (self.kind == "float" or value == int(value))


@dataclass
class Recorder:
    """A `Suggest` that remembers every `Parameter`; values are drawn uniformly from a seed, or given.

    With `given`, a value outside its range raises `StudyError`, as does a name that is not in it unless `fill` draws
    that from the seed. So does a choice that a database would not give back as it was.
    """

    seed: int = 0
    given: Mapping[str, Scalar] | None = None
    fill: bool = False
    parameters: dict[str, Parameter] = field(default_factory=dict)
    values: dict[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        parameter = Parameter(kind="float", low=low, high=high, step=step, log=log)
        return float(self._value(name, parameter, lambda: self._draw(low, high, step, log)))  # type: ignore[arg-type]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        parameter = Parameter(kind="int", low=low, high=high, step=step, log=log)
        return int(self._value(name, parameter, lambda: round(self._draw(low, high, step, log))))  # type: ignore[arg-type]

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any:
        check_choices(name, choices)
        parameter = Parameter(kind="categorical", choices=tuple(choices))
        return self._value(name, parameter, lambda: choices[int(self._rng.integers(len(choices)))])

    def _draw(self, low: float, high: float, step: float | None, log: bool) -> float:
        if log:
            return float(np.exp(self._rng.uniform(np.log(low), np.log(high))))
        if step is not None:
            return low + step * int(self._rng.integers(int((high - low) / step + 1e-9) + 1))
        return float(self._rng.uniform(low, high))

    def _value(self, name: str, parameter: Parameter, draw: Callable[[], Scalar]) -> Scalar:
        known = self.parameters.setdefault(name, parameter)
        if known != parameter:
            raise StudyError(f"parameter `{name}` is suggested twice with different ranges: {known}, then {parameter}")
        if name not in self.values:
            draws = self.given is None or (self.fill and name not in self.given)
            self.values[name] = draw() if draws else self._given(name, parameter)
        return self.values[name]

    def _given(self, name: str, parameter: Parameter) -> Scalar:
        assert self.given is not None
        if name not in self.given:
            raise StudyError(f"parameter `{name}` ({parameter}) has no value among {sorted(self.given)}")
        is_made = name + DRAWN in self.parameters  # then the range here is the one value that was made of the number
        if not parameter.contains(self.given[name]) and not is_made:
            raise StudyError(f"parameter `{name}` must be {parameter}, got {self.given[name]!r}")
        return self.given[name]


def check_choices(name: str, choices: Sequence[Scalar]) -> None:
    """Raise `StudyError` for choices that a database gives back changed, or takes for one another."""
    if not len(choices):
        raise StudyError(f"parameter `{name}` must have at least one choice, got none")
    for i, choice in enumerate(choices):
        if type(choice) not in _STORABLE or (isinstance(choice, float) and not math.isfinite(choice)):
            raise StudyError(
                f"parameter `{name}`: choice {choice!r} ({type(choice).__name__}) must be a text, a finite number, "
                "True, False or None: a database gives others back changed, so the study could not be resumed. Name "
                f'the choices and map the names to values: spaces.named(suggest, "{name}", {{"a": ..., "b": ...}})'
            )
        if choice in choices[:i]:
            raise StudyError(f"parameter `{name}`: its choices {list(choices)!r} must differ, and 1 is equal to True")


def named(suggest: Suggest, name: str, values: Mapping[str, T]) -> T:
    """Draw one of `values` of any type by its name: the name is what is stored and shown."""
    return values[suggest.suggest_categorical(name, list(values))]


def widened(name: str, known: Parameter, other: Parameter) -> Parameter:
    """Return what two draws of one space asked for under one name: a range that holds both.

    Raises `StudyError` where a study could not store both: another kind or scale, or other choices.
    """
    if known == other:
        return known
    if (known.kind, known.log, known.choices) != (other.kind, other.log, other.choices):
        raise StudyError(
            f"parameter `{name}` is {known} in one draw and {other} in another, which one study can't store: "
            "give them two names"
        )
    lows, highs = (known.low, other.low), (known.high, other.high)
    low, high = min(x for x in lows if x is not None), max(x for x in highs if x is not None)
    return replace(known, low=low, high=high, step=known.step if known.step == other.step else None)


@dataclass(frozen=True)
class Prefixed:
    """A `Suggest` that puts `prefix` before every name, so that two spaces can live in one study."""

    suggest: Suggest
    prefix: str

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self.suggest.suggest_float(self.prefix + name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self.suggest.suggest_int(self.prefix + name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any:
        return self.suggest.suggest_categorical(self.prefix + name, choices)


def unused(given: Mapping[str, Scalar], recorder: Recorder) -> str | None:
    """Return a message when `given` has names that the space never asked for, else None."""
    extra = sorted(set(given) - set(recorder.values))
    return f"parameter `{extra[0]}` is not in the space{nearest(extra[0], recorder.values)}" if extra else None
