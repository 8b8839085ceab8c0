"""Choose how a search is watched, as fits the console."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console

from pneumo_core.progress import Progress
from search import printing
from search.records import Summary
from search.watching import notebook
from search.watching.progress import BarProgress, LineProgress
from search.watching.view import LineView, LiveView
from search.watching.views import MakeView, View


@contextmanager
def view_maker(console: Console, verbosity: int = 0) -> "Iterator[tuple[MakeView, Progress]]":
    """Yield how to watch a search, and how to watch other long work, as fits the console.

    `verbosity` 0 shows trials, 1 their epochs as well, and -1 nothing.
    """
    console = console if verbosity >= 0 else Console(quiet=True, force_terminal=False, force_jupyter=False)
    if console.is_jupyter:
        with notebook.watching() as found:
            yield found
        return
    if not console.is_terminal or verbosity > 0:

        def lines(total: int, n_slots: int, summary: Callable[[], Summary]) -> View:
            return LineView(console, total, n_slots, summary, every_epoch=verbosity > 0)

        yield lines, LineProgress(console)
        return
    with ExitStack() as stack:

        def live(total: int, n_slots: int, summary: Callable[[], Summary]) -> View:
            return stack.enter_context(LiveView(console, total, n_slots, summary))

        yield live, BarProgress(console)


@contextmanager
def working(console: Console, what: str) -> Iterator[None]:
    """Show that work of unknown length is running: a spinner on a terminal, one line elsewhere."""
    if console.is_terminal:
        with console.status(printing.cell(what)):
            yield
    else:
        printing.say(console, what)
        yield
