"""What a person sees while a search runs: a live table on a terminal, plain lines elsewhere."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from pneumo_core.wire import FOLD, N_FOLDS
from search import printing
from search.duration import say_duration
from search.records import Summary
from search.watching.describe import describe, describe_best, describe_fold, describe_step, outcome
from search.watching.views import View

WIDE = 100  # columns of a terminal from which the live table has all figures
MIN_MODEL = 10  # columns that a description of the model must have to be worth showing


class SummarySource(Protocol):
    def __call__(self) -> Summary: ...


@dataclass
class Row:
    spec: TrialSpec
    began_s: float
    epoch: int = -1
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def step(self) -> str:
        return describe_step(self.spec, self.epoch, self.metrics)


class LineView(View):
    """A line with the time of day when a trial starts, ends or fails, and after each of its folds.

    With `every_epoch` there is one after each epoch as well. Failures of one cause are described once.
    """

    def __init__(
        self, console: Console, total: int, n_slots: int, summary: SummarySource, every_epoch: bool = False
    ) -> None:
        self.console, self._every_epoch = console, every_epoch
        self._total, self._n_slots, self._summary = total, n_slots, summary
        self._state = summary()
        self._rows: dict[int, Row] = {}
        self._began_s = time.monotonic()
        self._seconds: list[float] = []  # of the trials that ended here
        self._causes: dict[str, int] = {}  # of failures, with the first trial of each

    def started(self, number: int, spec: TrialSpec) -> None:
        self._rows[number] = Row(spec=spec, began_s=time.monotonic())
        self._state = self._summary()
        self._say_start(f"trial {number}: started, {describe(spec)}")

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        row = self._rows[number]
        row.epoch, row.metrics = epoch, metrics
        if N_FOLDS in metrics and FOLD not in metrics:
            self._say(f"trial {number}: fold {epoch + 1}/{metrics[N_FOLDS]:g}: {describe_fold(metrics)}")
        elif self._every_epoch:
            shown = ", ".join(f"{label} {_number(metrics.get(name))}" for label, name in EPOCH)
            self._say(f"trial {number}: epoch {row.step}: {shown}")

    def finished(self, number: int, result: TrialResult) -> None:
        self._say_end(number, outcome(result))

    def failed(self, number: int, reason: str, message: str) -> None:
        cause = reason + re.sub(r"[0-9.]+", "#", message)
        first = self._causes.setdefault(cause, number)
        what = f": {message}" if first == number else f", as trial {first} did"
        self._say_end(number, f"failed ({reason}){what}")

    def ended(self, number: int, what: str) -> None:
        self._say_end(number, what)

    def noted(self, text: str) -> None:
        self._say(text)

    def status(self) -> str:
        """Return the counts, times and the best trial so far, in two lines."""
        s = self._state
        best = f"best feasible: {describe_best(s.best)}" if s.best else "no feasible trial yet"
        return (
            f"{s.n_finished} of {self._total} trials · {s.n_complete} complete · {s.n_pruned} pruned · "
            f"{s.n_failed} failed · {say_duration(time.monotonic() - self._began_s)}{self._left()}\n{best}"
        )

    def _say_start(self, text: str) -> None:
        self._say(text)

    def _say_end(self, number: int, what: str) -> None:
        row = self._rows.pop(number, None)
        if row is not None:
            self._seconds.append(time.monotonic() - row.began_s)
        self._state = self._summary()
        self._say(f"trial {number}: {what}{self._counts()}")

    def _counts(self) -> str:
        return f" [{self._state.n_finished} of {self._total}{self._left()}]"

    def _say(self, text: str) -> None:
        self._told(f"{datetime.now():%H:%M:%S} {text}")

    def _told(self, text: str) -> None:
        printing.say(self.console, text)

    def _left(self) -> str:
        n_left = self._total - self._state.n_finished
        if not self._seconds or n_left <= 0:
            return ""
        return f" · about {say_duration(n_left * sum(self._seconds) / len(self._seconds) / self._n_slots)} left"


class LiveView(LineView):
    """A row a running trial, the counts, the best feasible trial so far, elapsed and remaining time."""

    def __init__(self, console: Console, total: int, n_slots: int, summary: SummarySource) -> None:
        super().__init__(console, total, n_slots, summary)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _say_start(self, text: str) -> None:
        """Say nothing: the table has a row for it."""

    def _say(self, text: str) -> None:
        self._told(text)

    def _counts(self) -> str:
        return ""  # they are below the table

    def _render(self) -> RenderableType:
        columns = FIGURES if self.console.width >= WIDE else FIGURES[:2]
        rows = [
            [str(number), row.step, *(_number(row.metrics.get(name)) for _, name in columns), _since(row.began_s)]
            for number, row in sorted(self._rows.items())
        ]
        head = ["trial", "epoch", *(label for label, _ in columns), "time"]
        room = self.console.width - sum(max(map(len, column)) + 2 for column in zip(head, *rows, strict=True))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in head + (["model"] if room >= MIN_MODEL else []):
            table.add_column(heading, no_wrap=True)
        for cells, (_, row) in zip(rows, sorted(self._rows.items()), strict=True):
            model = Text(printing.inline(describe(row.spec)), no_wrap=True, overflow="ellipsis")
            model.truncate(max(0, room), overflow="ellipsis")
            table.add_row(*cells, *([model] if room >= MIN_MODEL else []))
        counts, verdict = self.status().split("\n")
        if len(counts) > self.console.width:
            counts = "\n".join(counts.rsplit(" · ", 1))  # the time left on a line of its own
        style = "bold green" if self._state.best else "yellow"
        return Group(table, printing.cell(counts), printing.cell(verdict, style))


FIGURES = (("AUC", "auc"), ("recall", "recall"), ("specificity", "specificity"), ("val loss", "val_loss"))
EPOCH = (*FIGURES[:3], ("validation loss", "val_loss"), ("training loss", "loss"))


def _since(began_s: float) -> str:
    return say_duration(time.monotonic() - began_s)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
