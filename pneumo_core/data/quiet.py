"""Silences libraries whose warnings about a damaged file quote it, with the patient's data."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_LOCK = threading.Lock()  # the interpreter's warning filters are shared by all threads


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Ignore every warning in this block; one thread at a time, so keep slow work out of it."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
