"""How long operations report their progress."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`, from the thread that called the long function, `done` rising to `total`."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: for callers that gave no progress."""
