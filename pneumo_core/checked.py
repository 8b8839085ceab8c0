"""Dataclasses that check their fields by the annotations: a `Literal`, or `Annotated` with a rule such as `Range`."""

import functools
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol


class Rule(Protocol):
    def check(self, name: str, value: Any) -> None:
        """Raise `ValueError` saying what must hold for the field `name`, and what came."""


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`; a whole one where both are."""

    low: float
    high: float

    def check(self, name: str, value: Any) -> None:
        check_range(name, value, self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def check(self, name: str, value: Any) -> None:
        check_choice(name, value, self.values)


class Checked:
    """Checks each field that has a rule when an object is made; None passes where the annotation allows it."""

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, rule, is_optional in _rules(cls):
            value = getattr(self, name)
            if not (is_optional and value is None):
                rule.check(name, value)


@functools.cache
def _rules(cls: type) -> tuple[tuple[str, Rule, bool], ...]:
    found = []
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        options = [option for option in (typing.get_args(hint) if is_union else (hint,)) if option is not type(None)]
        if len(options) == 1 and (rule := _rule(options[0])) is not None:
            found.append((name, rule, is_union))
    return tuple(found)


def _rule(hint: Any) -> Rule | None:
    if typing.get_origin(hint) is Literal:
        return Choice(typing.get_args(hint))
    return next((rule for rule in getattr(hint, "__metadata__", ()) if hasattr(rule, "check")), None)


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise `ValueError` unless `value` is a number in [`low`, `high`]; NaN is not."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if ok and isinstance(low, int) and isinstance(high, int):
        ok = isinstance(value, int)
    if not ok:
        kind = "a whole number" if isinstance(low, int) and isinstance(high, int) else "a number"
        raise ValueError(f"`{name}` must be {kind} in [{low}, {high}], got {value!r}")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    options = tuple(choices)
    if value not in options:
        raise ValueError(f"`{name}` must be one of {list(options)}, got {value!r}")
