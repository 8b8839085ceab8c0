"""What the search costs beside training: the coordinator's share, a warm second trial, and the quick commands.

    python -m benchmarks.overhead FOLDER [--trials 4] [--stored 1000] [--repeats 5] [--json FILE]

A real search of the study `cnn` runs over the images of FOLDER (or `phantom`) with one trainer. "child waits" is the
time from each message of the trainer to its answer, and from the end of a trial to the next one, as a share of the
time from the first trial's submission to the last one's end. "to the first step" is the time from a trial's
submission to the beginning of its first epoch, the building of its network included, tracing excluded; the first
trial also starts the process and imports the framework. Of the quick commands, processor time is measured, which other
programs on the machine change little; each ran once before, so that Python has its bytecode. With --trials 0 nothing
else is measured.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from benchmarks import measure, storage
from benchmarks.measure import Row
from pneumo_core.specs import AugmentSpec, TrialSpec
from pneumo_core.wire import EpochDone, Scored, Task, TrialDone, TrialError
from search import launching
from search.executors.devices import Machine
from search.executors.protocol import Event, Executor
from search.home import Home
from search.prepared import read_source
from search.watching.make import view_maker
from spaces import Suggest
from studies import cnn, load
from studies.spec import BudgetSpec, PrunerSpec, SourceSpec, StudySpec

EPOCHS = 4


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("folder", help="in the Kaggle layout, or phantom")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--stored", type=int, default=1000, help="trials in the database that `pneumo status` reads")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = _quick_commands(Path(folder), asked.stored, asked.repeats)
        if asked.trials:
            rows += _search(asked.folder, asked.trials, Path(folder) / "home")
    title = f"Overhead; a search of {asked.trials} trials of {EPOCHS} epochs"
    measure.publish(title, rows, environment=measure.machine(), file=asked.json)


def space(suggest: Suggest) -> TrialSpec:
    """Draw as the study `cnn`, but few epochs and no augmentation: the cheaper a trial, the larger a fixed cost."""
    drawn = cnn.space(suggest)
    train = replace(drawn.train, epochs=EPOCHS, warmup_epochs=0.0, augment=AugmentSpec())
    return replace(drawn, train=train)


def _quick_commands(folder: Path, n_stored: int, n_repeats: int) -> list[Row]:
    url = f"sqlite:///{folder / 'stored.db'}"
    storage.fill(cnn.STUDY, url, n_stored)
    sides: dict[str, Callable[[], float]] = {
        "pneumo --help": lambda: _run_s("--help"),
        "pneumo data check --help": lambda: _run_s("data", "check", "--help"),
        "pneumo studies": lambda: _run_s("studies"),
        f"pneumo status, {n_stored} trials": lambda: _run_s("status", "cnn", "--storage", url),
    }
    for compile_once in sides.values():
        compile_once()
    return [Row(name=name, values=values) for name, values in measure.in_turn(sides, n_repeats).items()]


def _run_s(*arguments: str) -> float:
    """Return the processor time of a command."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "search.cli", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass
class Watched:
    """An executor that notes when what passes through it."""

    inner: Executor
    waits_s: list[float] = field(default_factory=list)  # of a trainer for the coordinator
    to_first_step_s: list[float] = field(default_factory=list)
    first_s: float = 0.0
    last_s: float = 0.0

    def __post_init__(self) -> None:
        self._heard_s = self._submitted_s = 0.0

    @property
    def n_slots(self) -> int:
        return self.inner.n_slots

    @property
    def n_free(self) -> int:
        return self.inner.n_free

    def submit(self, task: Task, *, alone: bool = False) -> None:
        self._submitted_s = time.perf_counter()
        self.first_s = self.first_s or self._submitted_s
        self._answered()
        self.inner.submit(task, alone=alone)

    def reply(self, number: int, *, stop: bool) -> None:
        self.inner.reply(number, stop=stop)
        self._answered()

    def cancel(self, number: int) -> None:
        self.inner.cancel(number)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        events = self.inner.poll(timeout_s)
        for event in events:
            if isinstance(event, EpochDone | TrialDone | Scored | TrialError):
                self._heard_s = self.last_s = time.perf_counter()
            if isinstance(event, EpochDone) and event.epoch == 0:
                self.to_first_step_s.append(self._heard_s - self._submitted_s - event.metrics["seconds"])
        return events

    def close(self) -> None:
        self.inner.close()

    def _answered(self) -> None:
        if self._heard_s:
            self.waits_s.append(time.perf_counter() - self._heard_s)
        self._heard_s = 0.0


def _search(folder: str, n_trials: int, place: Path) -> list[Row]:
    spec = StudySpec(
        name="overhead",
        space=space,
        pruner=PrunerSpec(kind="none"),
        budget=BudgetSpec(trials=n_trials),
        data=SourceSpec(source=folder),
    )
    home = Home(place)
    executor = Watched(launching.make_executor(Machine(workers=1), home.logs(spec.name)))
    with view_maker(Console(quiet=True)) as (make_view, progress):
        prepared = read_source(spec.data, home, progress)
        options = launching.Options(storage_url=home.storage_url, home=home)
        launching.search(load.check(spec), options, prepared, executor, make_view)
    share = sum(executor.waits_s) / (executor.last_s - executor.first_s)
    warm = tuple(executor.to_first_step_s[1:])
    return [
        Row(name="child waits, of a search", values=(100 * share,), unit="%"),
        Row(name="child waits, each time", values=tuple(1000 * wait for wait in executor.waits_s), unit="ms"),
        Row(name="to the first step, cold", values=(executor.to_first_step_s[0],)),
        Row(name="to the first step, warm", values=warm),
    ]


if __name__ == "__main__":
    main()
