"""Finding a hypermodel: in a Python file or a module, by name."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import keras_tuner

from pneumo_core.errors import StudyError, describe


def load(source: str, attribute: str, arguments: Mapping[str, Any]) -> Any:
    """Return the `keras_tuner.HyperModel` that `attribute` names in a file (`.py`) or module.

    It may be one, a class of them, which gets `arguments`, or a function `build(hp)`. Runs the code of the source.
    Raises `StudyError` for anything else.
    """
    where = f"{source}:{attribute}"
    module = _module(source)
    try:
        found = reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise StudyError(f"{where}: there is no such hypermodel: {error}") from error
    return _hypermodel(where, found, arguments)


def name_of(hypermodel: Any) -> str:
    """Return what people call the hypermodel."""
    if isinstance(hypermodel, _Built):
        return str(getattr(hypermodel.function, "__name__", "build"))
    return str(getattr(hypermodel, "name", None) or type(hypermodel).__name__)  # many don't call HyperModel.__init__


class _Built(keras_tuner.HyperModel):  # type: ignore[misc]
    """A hypermodel made of a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.build = function


def _module(source: str) -> ModuleType:
    try:
        return _from_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise StudyError(f"{source}: {describe(error)}") from error


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hypermodel_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # as for a script, whose neighbours it may import
    spec.loader.exec_module(module)
    return module


def _hypermodel(where: str, found: Any, arguments: Mapping[str, Any]) -> Any:
    if isinstance(found, type) and issubclass(found, keras_tuner.HyperModel):
        try:
            found = found(**arguments)
        except (Exception, SystemExit) as error:
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            raise StudyError(f"{where}({given}): {describe(error)}") from error
    elif arguments:
        raise StudyError(f"{where}: `arguments` are for a class, this is a {type(found).__name__}")
    if isinstance(found, keras_tuner.HyperModel):
        return found
    if not callable(found) or isinstance(found, type):
        what = getattr(found, "__name__", found)
        raise StudyError(f"{where}: must be a keras_tuner.HyperModel or a function build(hp), got {what!r}")
    return _Built(found)
