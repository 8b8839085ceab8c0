"""From what the user types to a checked study: a name under `studies/`, or a path to a file."""

import importlib
import importlib.util
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

import studies
from pneumo_core.errors import StudyError, describe, nearest
from studies.probing import Probes, check_point, probe
from studies.spec import StudySpec

N_PROBED = 200  # images with random labels and scores on which a study's own metrics must work
_NOT_STUDIES = {"load", "preferences", "probing", "spec"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A checked study, with what draws from its space showed."""

    spec: StudySpec
    draws: Probes


def names() -> list[str]:
    """Return the names of the studies that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(studies.__path__) if module.name not in _NOT_STUDIES)


def load(study: str) -> Study:
    """Return the study that `study` names, checked. Raises `StudyError` naming the mistake and the remedy."""
    return check(read(study))


def read(study: str) -> StudySpec:
    """Return the study that `study` names without a draw from its space, which may take some seconds."""
    module = _from_file(Path(study)) if study.endswith(".py") or "/" in study else _from_name(study)
    spec = getattr(module, "STUDY", None)
    if not isinstance(spec, StudySpec):
        raise StudyError(f"{study}: must define `STUDY = StudySpec(...)`, got {type(spec).__name__}")
    return spec


def check(spec: StudySpec) -> Study:
    """Return the study with its draws.

    Raises `StudyError` unless random draws and every enqueued point make sense, and own metrics give a number.
    """
    draws = probe(spec)
    _check_metrics(spec)
    for i, point in enumerate(spec.enqueue):
        try:
            check_point(spec, point)
        except StudyError as error:
            raise StudyError(f"study {spec.name!r}: enqueue[{i}]: {error}") from error
    return Study(spec=spec, draws=draws)


def _check_metrics(spec: StudySpec) -> None:
    random = np.random.default_rng(0)
    y, scores = random.integers(0, 2, N_PROBED), random.random(N_PROBED).round(6)
    for name, metric in spec.metrics.items():
        try:
            found = float(metric(y.copy(), scores.copy(), 0.5))
        except (Exception, SystemExit) as error:
            raise StudyError(
                f"study {spec.name!r}: its metric `{name}` fails on random scores of {N_PROBED} images: {_say(error)}"
            ) from error
        if not np.isfinite(found):
            raise StudyError(f"study {spec.name!r}: its metric `{name}` must return a finite number, got {found}")


def _from_name(name: str) -> ModuleType:
    if name not in names():
        raise StudyError(f"study {name!r} is unknown{nearest(name, names())}; or give a path to a study file")
    return importlib.import_module(f"studies.{name}")


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StudyError(f"study file {path} does not exist")
    spec = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StudyError(f"study file {path} must be a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.absolute())
    if folder not in sys.path:
        sys.path.append(folder)  # for modules beside the file; last, so that none of them hides another package
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise StudyError(f"study file {path}: {_say(error)}") from error
    return module


def _say(error: BaseException) -> str:
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    return f"{describe(error)}{where}"
