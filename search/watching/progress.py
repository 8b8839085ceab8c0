"""Progress of long work other than trials: a bar on a terminal, lines elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from search import printing
from search.duration import say_duration

PROGRESS_EVERY_S = 2.0


class LineProgress:
    """`Progress` as lines: one every two seconds at most."""

    def __init__(self, console: Console) -> None:
        self._console, self._last_s = console, time.monotonic()
        self._first: dict[str, tuple[float, int]] = {}  # when work was first reported, and how much was done

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what not in self._first or done <= self._first[what][1]:
            self._first[what] = (now, done)
        began_s, n_before = self._first[what]
        if now - self._last_s >= PROGRESS_EVERY_S:
            self._last_s = now
            left_s = (now - began_s) * (total - done) / (done - n_before) if n_before < done < total else None
            left = "" if left_s is None else f", about {say_duration(left_s)} left"
            printing.say(self._console, f"{what}: {done} of {total}{left}")
        if done >= total:
            del self._first[what]  # the same work may be done again


class BarProgress:
    """`Progress` as a bar on a terminal, gone when the work is done."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(printing.inline(what), total=total)
            self._bar.start()
        self._bar.update(self._tasks[what], completed=done, total=total)
        if done >= total:
            self._bar.stop()
            self._bar.remove_task(self._tasks.pop(what))
