"""The project's own errors. Whatever else is raised is either a `ValueError` for the caller or a bug.

PneumoError
├── UserError          what the user gave can't be used: exit code 2
│   ├── DataError      a folder, file or array of images
│   ├── StudyError     a study file, a name in it, or a study that changed
│   ├── StorageError   a database or a folder that can't be opened or written
│   └── BundleError    a bundle or a model in it
└── TrialFailed        one trial failed; the search continues without it
"""

import difflib
from collections.abc import Iterable


class PneumoError(Exception):
    """Root of the project's errors."""


class UserError(PneumoError):
    """What the user gave can't be used; the message names it, its value and the remedy."""


class DataError(UserError):
    """A source of images, one image, or a cached array can't be used."""


class StudyError(UserError):
    """A study file, a name it uses, or its difference from the stored study."""


class StorageError(UserError):
    """A database or working folder can't be opened, created or written."""


class BundleError(UserError):
    """A folder isn't a bundle, or it was cut short or altered, or its model can't be used."""


class TrialFailed(PneumoError):
    """One trial failed. `reason` is a short stable word such as `nan_loss`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def describe(error: BaseException) -> str:
    """Return type and message of an error that somebody else's code raised; its own `__str__` may raise, too."""
    what = f"{type(error).__name__}: {message_of(error)}"
    return f"it ends the program ({what}), which nothing in a study may do" if isinstance(error, SystemExit) else what


def message_of(error: object) -> str:
    """Return `str(error)`, or that there is none."""
    try:
        return str(error)
    except (Exception, SystemExit) as another:
        return f"(its message can't be shown: `__str__` raises {type(another).__name__})"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'? Known: ..." for an unknown `name`, for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(names)}"
