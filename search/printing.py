"""The one way to print for people. Text is text: no markup is read in it, no control character reaches the terminal.

Names of studies, parameters, classes and files come from outside, and so do the messages of errors.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pneumo_core.text import encodable
from pneumo_core.text import inline as inline
from pneumo_core.text import visible as visible

Say = Callable[[str], None]


def cell(text: object, style: str = "") -> Text:
    """Return text as Rich prints it, for tables and live views."""
    return Text(visible(text), style)


def say(console: Console, text: object, style: str = "") -> None:
    """Print lines for people, which are never wrapped."""
    console.print(cell(text, style), highlight=False, soft_wrap=True)


def sayer(console: Console) -> Say:
    """Return `say` on a console."""
    return lambda text: say(console, text)


def line(text: object) -> None:
    """Print one line on standard output that a program may read, such as the name of what was made."""
    print(inline(text), flush=True)


def note(text: object) -> None:
    """Print one line on standard error, from where there is no console."""
    print(inline(text), file=sys.stderr, flush=True)


def result(data: Any) -> None:
    """Print the object of `--json`, last on standard output; any JSON reader takes it, whatever files are called."""
    print(json.dumps(encodable(data)), flush=True)


def table(headings: Sequence[object] = (), *, title: object = "", right: Iterable[int] = ()) -> Table:
    """Return an empty table; columns `right` are aligned to the right. Rows are made of `cell`s: see `add`."""
    made = Table(
        box=None,
        pad_edge=False,
        show_header=bool(headings),
        title=cell(title) if title else None,
        title_justify="left",
    )
    at_right = set(right)
    for index, heading in enumerate(headings):
        made.add_column(cell(heading), justify="right" if index in at_right else "left")
    return made


def add(to: Table, *cells: object) -> None:
    """Add a row of texts."""
    to.add_row(*(cell(inline(text)) for text in cells))


def show(console: Console, made: Table) -> None:
    console.print(made, highlight=False)
