"""A search seen in a notebook: a few lines of a cell's output, rewritten in place."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pneumo_core.progress import Progress
from pneumo_core.specs import TrialSpec
from search.watching.view import LiveView, SummarySource
from search.watching.views import View

if TYPE_CHECKING:
    from search.watching.views import MakeView

EVERY_S = 0.5


class Lines:
    """Text under the cell that runs. What is said is shown, and replaced by what is said next."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._said_s = 0.0

    def say(self, text: str) -> None:
        from IPython.display import display

        self._said_s = time.monotonic()
        shown = {"text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def say_now_and_then(self, text: Callable[[], str]) -> None:
        """Say `text()` unless something was said only just now."""
        if time.monotonic() - self._said_s >= EVERY_S:
            self.say(text())

    def progress(self, what: str, done: int, total: int) -> None:
        self.say_now_and_then(lambda: f"{what}: {done} of {total}")


class NotebookView(LiveView):
    """The status of the search, how far the running trials are, and the last event that may need attention."""

    def __init__(self, lines: Lines, total: int, n_slots: int, summary: SummarySource) -> None:
        super().__init__(Console(quiet=True), total, n_slots, summary)
        self._lines, self._failure = lines, ""

    def started(self, number: int, spec: TrialSpec) -> None:
        super().started(number, spec)
        self._lines.say_now_and_then(self._text)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        super().epoch(number, epoch, metrics)
        self._lines.say_now_and_then(self._text)

    def failed(self, number: int, reason: str, message: str) -> None:
        self._failure = f"\ntrial {number} failed ({reason}): {message}"
        super().failed(number, reason, message)

    def close(self) -> None:
        """Leave the last status standing."""
        self._lines.say(self._text())

    def _text(self) -> str:
        rows = ", ".join(f"trial {number} {row.step}" for number, row in sorted(self._rows.items()))
        return self.status() + (f"\nrunning: {rows}" if rows else "") + self._failure


@contextmanager
def watching() -> "Iterator[tuple[MakeView, Progress]]":
    """Yield how to watch a search and other long work in a notebook."""
    lines, views = Lines(), []

    def make(total: int, n_slots: int, summary: SummarySource) -> View:
        views.append(NotebookView(lines, total, n_slots, summary))
        return views[-1]

    try:
        yield make, lines.progress
    finally:
        for view in views:
            view.close()
