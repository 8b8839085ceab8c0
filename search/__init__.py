"""Optuna studies over trials: storage, executors, the coordinator and the command line. Never loads Keras.

`from search import launch, load_study, finalize` is the way in from Python; nothing is imported before it is asked for.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from search import installation

if TYPE_CHECKING:
    from search.api import finalize, launch, load_study
    from search.result import StudyResult

__all__ = ["StudyResult", "finalize", "launch", "load_study"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # takes a tenth of `--help`

        return metadata.version("pneumo-search")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    installation.check()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # of Optuna's tqdm, in every plain notebook
        return getattr(importlib.import_module("search.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
