"""The messages between a space and the process that declares its hypermodel; see `process`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pneumo_core.specs import DataSpec, TrialSpec

Scalar = str | int | float | bool
DRAWN = " (drawn)"  # ends the name of a number that a sampler draws for the parameter of that name
Reason = Literal["wrong_use", "fatal", "failed_trial", "bad_spec"]


@dataclass(frozen=True, kw_only=True)
class Open:
    """First line to the process: which hypermodel, and what its trials are beside it."""

    kind: Literal["open"] = "open"
    source: str  # a file ending in `.py`, or a module
    attribute: str  # names in it, joined by dots
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of a hypermodel's class
    data: DataSpec | None = None  # None: what the model's own input says
    pixels: tuple[float, ...] | None = None  # what 0 and 255 become before the model sees them; None: as it wants
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)  # fields of `TrainSpec`; win over the compiled ones


@dataclass(frozen=True, kw_only=True)
class Draw:
    """To the process: build a model; the first questions have these answers."""

    kind: Literal["draw"] = "draw"
    answers: tuple[Scalar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """To the process: the value of what it asked for."""

    kind: Literal["answer"] = "answer"
    value: Scalar


@dataclass(frozen=True, kw_only=True)
class Question:
    """From the process: a value is wanted. The meaning is that of Optuna's `suggest_int`, `_float`, `_categorical`."""

    kind: Literal["question"] = "question"
    type: Literal["int", "float", "categorical"]
    name: str
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    choices: tuple[Scalar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """From the process: the trial that the answers make."""

    kind: Literal["drawn"] = "drawn"
    spec: TrialSpec


@dataclass(frozen=True, kw_only=True)
class Refused:
    """From the process: the answers make no trial, or there is no hypermodel."""

    kind: Literal["refused"] = "refused"
    reason: Reason
    message: str


Request = Open | Draw | Answer
Reply = Question | Drawn | Refused
