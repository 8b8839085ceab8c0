"""Points of an earlier search, to be tried first: of a stored study, or of a folder that KerasTuner left."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection

from pneumo_core.errors import StudyError
from pneumo_core.tuner.dialogue import DRAWN
from search import records, trials
from search.storage.database import open_storage
from search.stored_trials import complete_of
from search.study import load_study
from spaces.base import Scalar
from studies.probing import Probes, check_point
from studies.spec import StudySpec

N_POINTS = 10  # the best that fit; each is trained anew, so that it can be compared
Point = dict[str, Scalar]


def points(source: str, storage_url: str, spec: StudySpec, found: Probes) -> list[Point]:
    """Return up to `N_POINTS` points for `spec`, the best first.

    `source` is a study in the same database, `URL#STUDY` in another one that Optuna wrote, or the folder of a
    KerasTuner search. Of each point the values count that the space of `spec`, whose probes are `found`, allows. Raises
    `StudyError` where nothing is left, `StorageError` for a database that can't be opened.
    """
    earlier = _of_keras_tuner(Path(source)) if Path(source).is_dir() else _of_study(source, storage_url)
    kept: list[Point] = []
    for values in earlier:
        point = _fitting(values, spec, found)
        if point and point not in kept:
            kept.append(point)
        if len(kept) == N_POINTS:
            break
    if not kept:
        raise StudyError(
            f"--warm-start {source}: none of its finished trials has a parameter that study {spec.name!r} asks for: "
            f"{', '.join(sorted(found.parameters)) or 'it has none'}"
        )
    return kept


def _of_study(source: str, storage_url: str) -> list[Mapping[str, Any]]:
    """Return the parameters of a study's complete trials: the feasible ones first, and among them the best."""
    url, _, name = source.rpartition("#")
    study = load_study(name, open_storage(url or storage_url, create=False))
    complete = complete_of(study)  # another program's study serves as well
    signs = [1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in study.directions]

    def rank(trial: optuna.trial.FrozenTrial) -> tuple[bool, float, int]:
        cost = sum(sign * value for sign, value in zip(signs, trial.values, strict=True))
        return bool(trial.constraints) and not records.is_feasible(trial), cost, trial.number

    return [trials.shown_params(trial) for trial in sorted(complete, key=rank)]


def _of_keras_tuner(folder: Path) -> list[Mapping[str, Any]]:
    """Return the hyperparameters of the completed trials below `folder`, the best first."""
    scored = []
    for file in sorted(folder.rglob("trial.json")):
        try:
            state = json.loads(file.read_text())
            values, score = state["hyperparameters"]["values"], state.get("score")
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if state.get("status") == "COMPLETED" and isinstance(score, int | float) and math.isfinite(score):
            scored.append((-score if _is_maximised(state, score) else score, str(file), values))
    if not scored:
        raise StudyError(f"--warm-start {folder}: there is no trial.json of a completed KerasTuner trial below it")
    return [values for _, _, values in sorted(scored, key=lambda entry: entry[:2])]


def _is_maximised(state: Mapping[str, Any], score: float) -> bool:
    """Return the direction of the metric that the score is of; KerasTuner does not name it in a trial."""
    metrics = state.get("metrics", {}).get("metrics", {})
    for name in sorted(metrics, key=lambda name: not name.startswith("val_")):
        seen = [value for entry in metrics[name].get("observations", []) for value in entry.get("value", [])]
        if any(math.isclose(value, score) for value in seen):
            return str(metrics[name].get("direction")) == "max"
    return True


def _fitting(values: Mapping[str, Any], spec: StudySpec, found: Probes) -> Point:
    """Return the part of `values` that the space allows, by its own names."""
    point = {name: values[own] for name, own in _names(found, values) if found.parameters[name].contains(values[own])}
    for _ in range(len(point)):  # a value may be out of the range that the others leave
        try:
            check_point(spec, point)
        except StudyError as error:
            named = [name for name in point if f"`{name}`" in str(error)]
            if not named:
                return {}
            del point[named[0]]
        else:
            break
    return point


def _names(found: Probes, values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (name in the space, name in `values`); KerasTuner's own names lack the conditions in brackets."""
    for name in found.parameters:
        plain = name.partition(" [")[0]
        if not name.endswith(DRAWN) and (name in values or plain in values):
            yield name, name if name in values else plain
