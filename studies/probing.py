"""What a space asks for and returns, found by seeded draws before a search starts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pneumo_core import codec
from pneumo_core.errors import StudyError, TrialFailed, describe, message_of
from pneumo_core.specs import KerasTunerSpec, TrialSpec
from spaces.base import Parameter, Recorder, Scalar, unused, widened
from studies.spec import StudySpec

N_PROBES = 64  # random draws of a space before a search starts
N_TRIES = 64  # draws of which none can be built before a space is refused, however long a draw takes


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What seeded draws of a space have shown."""

    parameters: Mapping[str, Parameter]  # all that was asked for, with the widest range of each name
    conditional: frozenset[str]  # names that not every draw asks for
    trials: tuple[TrialSpec, ...]  # of the points that can be built: at least one
    n_refused: int = 0
    refusal: str = ""  # why the last of the others can't

    @property
    def notes(self) -> list[str]:
        """Return notes for people before the search: points that can't be built, and automatic choices."""
        built = [trial for trial in self.trials if isinstance(trial.model, KerasTunerSpec)]
        return [*self._refusals(), *dict.fromkeys(_chosen(trial) for trial in built)]

    def _refusals(self) -> list[str]:
        if not self.n_refused:
            return []
        n = self.n_refused + len(self.trials)
        return [f"{self.n_refused} of {n} draws of the space make no trial: each would be a failed one. {self.refusal}"]


def probe(spec: StudySpec) -> Probes:
    """Return what `N_PROBES` draws of the study's space show, or as many as the space says in `n_probes`.

    A point that can't be built is one failed trial of a search. Raises `StudyError` for a space none of whose points
    can, for one whose draws contradict each other, and for one that is not a function of what it is suggested.
    """
    parameters: dict[str, Parameter] = {}
    asked: Counter[str] = Counter()
    trials: list[TrialSpec] = []
    n_wanted, n_refused, refusal = getattr(spec.space, "n_probes", N_PROBES), 0, ""
    while n_refused + len(trials) < (n_wanted if trials else N_TRIES):
        recorder = Recorder(seed=n_refused + len(trials))
        try:
            trials.append(draw(spec, recorder))
        except TrialFailed as error:
            n_refused, refusal = n_refused + 1, message_of(error)
        asked.update(list(recorder.parameters))
        for name, parameter in recorder.parameters.items():
            parameters[name] = _widened(spec, name, parameters.get(name, parameter), parameter)
    if not trials:
        raise StudyError(
            f"study {spec.name!r}: its space refuses every draw: none of {n_refused} can be built, "
            f"the last with: {refusal}"
        )
    conditional = frozenset(name for name, n in asked.items() if n < n_refused + len(trials))
    return Probes(
        parameters=parameters, conditional=conditional, trials=tuple(trials), n_refused=n_refused, refusal=refusal
    )


def draw(spec: StudySpec, recorder: Recorder) -> TrialSpec:
    """Return the trial of one draw, drawn twice: the same values must give the same.

    Raises `TrialFailed` for a point that can't be built, `StudyError` for a mistake in the space.
    """
    trial = _drawn(spec, recorder)
    again = Recorder(given=recorder.values)
    try:
        other = _drawn(spec, again)
    except (StudyError, TrialFailed) as error:
        raise _impure(spec, recorder.values, str(error)) from error
    if again.parameters != recorder.parameters:
        raise _impure(spec, recorder.values, _first_difference(recorder.parameters, again.parameters))
    if other.digest != trial.digest:
        raise _impure(spec, recorder.values, _first_difference(codec.to_json(trial), codec.to_json(other)))
    return trial


def check_point(spec: StudySpec, point: Mapping[str, Scalar]) -> None:
    """Raise `StudyError` for a queued point with a value out of range or a name that no draw asks for.

    Names may be missing: the sampler draws them.
    """
    message: str | None = None
    for seed in range(getattr(spec.space, "n_probes", N_PROBES)):
        recorder = Recorder(seed=seed, given=point, fill=True)
        try:
            _drawn(spec, recorder)
        except TrialFailed as error:
            if error.reason == "bad_spec" and recorder.values.keys() == point.keys():
                raise StudyError(str(error)) from error
        message = unused(point, recorder)
        if message is None:
            return
    raise StudyError(str(message))


def _drawn(spec: StudySpec, recorder: Recorder) -> TrialSpec:
    try:
        trial = spec.space(recorder)
    except (StudyError, TrialFailed):
        raise
    except (ValueError, ArithmeticError) as error:  # what specs and Keras raise for what can't be built
        raise TrialFailed("bad_spec", f"its space fails for {recorder.values}: {describe(error)}") from error
    except (Exception, SystemExit) as error:
        raise StudyError(f"study {spec.name!r}: its space fails for {recorder.values}: {describe(error)}") from error
    if not isinstance(trial, TrialSpec):
        raise StudyError(f"study {spec.name!r}: its space must return a TrialSpec, got {type(trial).__name__}")
    if spec.fidelity is not None:
        try:
            spec.fidelity.check(trial)
        except ValueError as error:
            raise StudyError(f"study {spec.name!r}: {error}") from error
    return trial


def _widened(spec: StudySpec, name: str, known: Parameter, other: Parameter) -> Parameter:
    try:
        return widened(name, known, other)
    except StudyError as error:
        raise StudyError(f"study {spec.name!r}: {error}") from error


def _impure(spec: StudySpec, values: Mapping[str, Scalar], difference: str) -> StudyError:
    return StudyError(
        f"study {spec.name!r}: its space must depend on nothing but what it is suggested, or no search can be resumed: "
        f"for {dict(values)} it gives one thing and then another: {difference}. Draw random numbers with `suggest`."
    )


def _first_difference(first: Any, second: Any, place: str = "") -> str:
    """Return where two nested mappings differ first, with both values."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in {**first, **second}:
            if first.get(key) != second.get(key):
                return _first_difference(first.get(key), second.get(key), f"{place}.{key}" if place else str(key))
    return f"`{place}` is {first} and then {second}"


def _chosen(trial: TrialSpec) -> str:
    """Return what a KerasTuner model is trained with that its code does not say."""
    model, train = trial.model, trial.train
    assert isinstance(model, KerasTunerSpec)
    low, high = model.pixels
    own = ", which it scales itself" if (low, high) == (0.0, 255.0) else ""
    how = f"schedule {train.schedule}, at most {train.epochs} epochs with a patience of {train.patience}"
    weights = train.class_weights
    said = weights if isinstance(weights, str) else " and ".join(f"{weight:g}" for weight in weights)
    shown = f"{model.name} gets pixels from {low:g} to {high:g}{own}; class weights {said}, {how}"
    return f"{shown}. Each can be set in from_keras_tuner."
