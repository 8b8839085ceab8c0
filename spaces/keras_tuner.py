"""KerasTuner hypermodels as spaces, drawn in a process of their own, since building a model takes Keras."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pneumo_core import codec
from pneumo_core.errors import StudyError, TrialFailed, nearest
from pneumo_core.specs import DataSpec, KerasTunerSpec, TrainSpec, TrialSpec
from pneumo_core.tuner.dialogue import Drawn, Open, Question, Refused, Scalar
from spaces.base import Suggest
from spaces.tuner_helper import Helper

N_PROBES = 8  # not 64: a draw builds a model, 0.3 s for an Xception and up to 5 s for a ResNet
_TRAIN_FIELDS = [f.name for f in fields(TrainSpec)]


def from_keras_tuner(
    hypermodel: Any,
    *,
    arguments: Mapping[str, Any] | None = None,
    data: DataSpec | None = None,
    pixels: tuple[float, float] | None = None,
    fixed: Mapping[str, Scalar] | None = None,
    **train: Any,
) -> "KerasTunerSpace":
    """Return the space of a `keras_tuner.HyperModel`, or of a function `build(hp)`.

    `hypermodel` is one of these, kept in a study file, or where to find it: "module:Name", or "file.py:Name" beside the
    study file. A class gets `arguments`. `data` says which images the model gets, by default those of its own input,
    and `pixels` what 0 and 255 become before it sees them: by default 0 to 1, or 0 to 255 for a model that scales them
    itself. `fixed` hyperparameters are not searched. Other arguments are fields of `TrainSpec`, such as `epochs`,
    `batch_size`, `class_weights`, `schedule` and `patience`; optimizer, learning rate, its schedule and the loss are
    those that the model is compiled with unless given here. Raises `StudyError` for arguments that can't be meant.
    """
    for name in train:
        if name not in _TRAIN_FIELDS:
            raise StudyError(f"from_keras_tuner: `{name}` is not a field of TrainSpec{nearest(name, _TRAIN_FIELDS)}")
    here = inspect.currentframe()
    return KerasTunerSpace(
        hypermodel=hypermodel,
        caller=here.f_back.f_globals if here and here.f_back else {},
        arguments=dict(arguments or {}),
        data=data,
        pixels=pixels,
        fixed=dict(fixed or {}),
        train=codec.to_json(train),
    )


@dataclass(eq=False, kw_only=True)
class KerasTunerSpace:
    """A space; `from_keras_tuner` makes one.

    The helper process starts with the first draw. What it asked for after which answers is remembered, so that the
    same draw again, as every launch repeats its probes, builds nothing.
    """

    hypermodel: Any
    caller: Mapping[str, Any]  # the names of the study file
    arguments: Mapping[str, Any]
    data: DataSpec | None
    pixels: tuple[float, float] | None
    fixed: Mapping[str, Scalar]
    train: Mapping[str, Any]
    n_probes: int = N_PROBES
    _known: dict[tuple[Scalar, ...], Question | Drawn | Refused] = field(default_factory=dict)
    _choices: dict[str, Question] = field(default_factory=dict)  # by parameter
    _seen: set[str] = field(default_factory=set)  # hyperparameters that some model had
    _n_drawn: int = 0
    _is_pure: bool = False
    _helper: Helper | None = None

    def __call__(self, suggest: Suggest) -> TrialSpec:
        """Return the trial that the hypermodel makes of what is suggested.

        Raises `TrialFailed` where the model raises KerasTuner's `FailedTrialError`, `StudyError` where it raises a
        `FatalError` or can't be found, `ValueError` for a model that can't be built or trained.
        """
        answers: tuple[Scalar, ...] = ()
        while isinstance(step := self._known.get(answers), Question):
            answers += (self._suggested(suggest, step),)
        if step is None:
            step = self._open().draw(answers)
            while isinstance(step, Question):
                self._known[answers] = step
                answers += (self._suggested(suggest, step),)
                step = self._open().answer(answers)
            if isinstance(step, Drawn) or step.reason == "failed_trial":
                self._check_pure(answers, step)
                self._known[answers] = step
                self._check_fixed(step)
        return self._trial(step)

    def _open(self) -> Helper:
        if self._helper is None:
            source, attribute = self._reference()
            self._helper = Helper(
                Open(
                    source=source,
                    attribute=attribute,
                    arguments=self.arguments,
                    data=self.data,
                    pixels=self.pixels,
                    fixed=self.fixed,
                    train=self.train,
                )
            )
        return self._helper

    def _suggested(self, suggest: Suggest, question: Question) -> Scalar:
        self._check_choices(question)
        name, step = question.name, question.step
        if question.type == "categorical":
            value: Scalar = suggest.suggest_categorical(name, question.choices)
            return value
        if question.type == "float":
            return suggest.suggest_float(name, question.low, question.high, step=step, log=question.log)
        low, high = int(question.low), int(question.high)
        return suggest.suggest_int(name, low, high, step=int(step or 1), log=question.log)

    def _check_pure(self, answers: tuple[Scalar, ...], step: Drawn | Refused) -> None:
        """Raise `StudyError` where the first model, built again, comes out different; Keras' own seeds are the same."""
        if not self._is_pure and isinstance(step, Drawn):
            self._is_pure = True
            if self._open().draw(answers) != step:
                raise StudyError(
                    f"the hypermodel builds another model when it gets the values {answers} again: it must depend on "
                    "nothing else, or no search can be resumed; draw random numbers with `hp`"
                )

    def _check_choices(self, question: Question) -> None:
        known = self._choices.setdefault(question.name, question)
        if known.type != question.type or known.choices != question.choices:
            raise StudyError(
                f"hyperparameter `{question.name}` has {_say(known)} in one model and {_say(question)} in another: "
                "give them two names, or declare each in a `with hp.conditional_scope(...)`"
            )

    def _check_fixed(self, step: Drawn | Refused) -> None:
        """Raise `StudyError` for a fixed name that no model had so far, once there were as many as probes."""
        if isinstance(step, Drawn):
            assert isinstance(step.spec.model, KerasTunerSpec)
            self._seen.update(step.spec.model.values)
            self._n_drawn += 1
        unknown = sorted(set(self.fixed) - self._seen)
        if unknown and self._n_drawn >= self.n_probes:
            raise StudyError(f"fixed hyperparameter `{unknown[0]}` is in no model{nearest(unknown[0], self._seen)}")

    def _trial(self, step: Drawn | Refused) -> TrialSpec:
        if isinstance(step, Drawn):
            return step.spec
        if step.reason == "failed_trial":
            raise TrialFailed(step.reason, step.message)
        if step.reason == "bad_spec":
            raise ValueError(step.message)
        raise StudyError(step.message)

    def _reference(self) -> tuple[str, str]:
        """Return file or module, and the name of the hypermodel in it, for another process to find."""
        here = self.caller.get("__file__")
        if isinstance(self.hypermodel, str):
            source, found, attribute = self.hypermodel.rpartition(":")
            if not found or not attribute:
                raise StudyError(f"hypermodel {self.hypermodel!r} must be written as 'module:Name' or 'file.py:Name'")
            return (str(Path(here or ".").parent / source) if source.endswith(".py") else source), attribute
        if here is None:
            raise StudyError(
                "a hypermodel made in a notebook can't be found by the process that builds it: put it into a file, and "
                "say from_keras_tuner('file.py:Name')"
            )
        for name, value in self.caller.items():
            if value is self.hypermodel:
                return str(Path(here).resolve()), name
            if value is self:
                return str(Path(here).resolve()), f"{name}.hypermodel"
            if getattr(value, "space", None) is self:
                return str(Path(here).resolve()), f"{name}.space.hypermodel"
        raise StudyError(
            f"{here}: the hypermodel must be in a variable of the file, or be the space of its STUDY, for another "
            "process to find it: write `MODELS = from_keras_tuner(...)`"
        )


def _say(question: Question) -> str:
    return f"the choices {list(question.choices)}" if question.type == "categorical" else f"a number ({question.type})"
