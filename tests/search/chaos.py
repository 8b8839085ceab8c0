"""Random faults in everything that a search consists of, and a count of what came of them."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from search.executors import process
from studies.spec import FidelitySpec, PrunerSpec, Rung, StudySpec
from tests.search import light
from tests.search.full_disk import fill
from tests.search.light import Search, study

LONGEST_S = 1800.0
CHEAP_FIRST = FidelitySpec(rungs=(Rung(scale=0.5, epochs=1), Rung(scale=0.75, epochs=2)), reduction_factor=2)
KILLS = ("trainer killed", "trainer killed", "trainer killed", "coordinator killed")
STOPS = ("trainer stopped", "coordinator stopped")
CONNECTIONS = ("connection ended",) * 9 + ("server restarted",)
FILES = ("file truncated", "file deleted", "trainer killed")  # nobody reads a checkpoint but after a kill
FULL = ("disk full",)
STATIONS = ("trainer killed",) * 6 + ("station killed",) * 3 + ("coordinator killed",)


class Server(Protocol):
    """A database server of a test's own."""

    def start(self) -> None: ...
    def stop(self, mode: str = "fast") -> None: ...
    def end_connection(self, choose: Callable[[Sequence[int]], int]) -> bool:
        """End one of the connections of its users; return whether there was one."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much goes wrong while how much runs."""

    n_faults: int
    n_trials: int
    n_coordinators: int = 1
    n_slots: int = 2
    epoch_s: float = 0.03
    mean_pause_s: float = 0.3  # between two faults
    mean_stop_s: float = 1.0  # of a process that is stopped for a while, or a full disk
    kinds: tuple[str, ...] = KILLS  # drawn with equal chances
    cheap_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of the faults of one study."""

    where: str
    faults: Counter[str]
    n_trials: int
    n_lost: int
    n_twice: int
    n_changed: int
    n_orphans: int
    n_ended: int

    @property
    def is_clean(self) -> bool:
        return not (self.n_lost or self.n_twice or self.n_changed or self.n_orphans)

    def __add__(self, other: "Row") -> "Row":
        numbers = {name: n + getattr(other, name) for name, n in vars(self).items() if name.startswith("n_")}
        return Row(where=self.where, faults=self.faults + other.faults, **numbers)


def line(row: Row) -> str:
    """Return a line of the table."""
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(row.faults.items()))
    numbers = row.faults.total(), row.n_trials, row.n_lost, row.n_twice, row.n_changed, row.n_orphans, row.n_ended
    return f"| {row.where} | {kinds} | " + " | ".join(map(str, numbers)) + " |"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = "| where | what went wrong | faults | trials | lost | run twice | changed | orphans | coordinators ended |"
    lines = [head, "|---|---" + "|--:" * 7 + "|", *map(line, rows)]
    n_faults, n_trials = sum(row.faults.total() for row in rows), sum(row.n_trials for row in rows)
    return "\n".join([*lines, f"\n{n_faults} faults, {n_trials} trials"])


@dataclass
class Chaos:
    """Coordinators of one study, killed and started again until all is done."""

    folder: Path
    url: str
    size: Size
    seed: int = 0
    server: Server | None = None
    ray: str = ""  # address of a cluster, all of whose processes have the tag
    n_faults: Counter[str] = field(default_factory=Counter)  # by kind
    n_ended: int = 0  # coordinators that ended otherwise than by our kill or because all was done
    _running: list[BaseProcess] = field(default_factory=list)
    _later: list[tuple[float, Callable[[], object]]] = field(default_factory=list)  # what ends a fault, and when
    _begun: bool = False  # every coordinator trained something
    _done: bool = False  # a coordinator says that the budget is reached

    def __post_init__(self) -> None:
        self.tag = f"chaos-{self.folder}"
        self.random = random.Random(self.seed)
        self._context = multiprocessing.get_context("forkserver")  # coordinators start without importing anew
        self._context.set_forkserver_preload(["tests.search.light"])
        self._killed: set[int] = set()

    @property
    def ray_tag(self) -> str:
        return f"{self.tag}-ray"

    @property
    def spec(self) -> StudySpec:
        budget = {"max_retries": 1000, "max_same_failures": 1_000_000}
        if self.size.cheap_first:
            return study(n_trials=self.size.n_trials, budget=budget, fidelity=CHEAP_FIRST, pruner=PrunerSpec())
        pruner = PrunerSpec(kind="median", n_startup_trials=5, n_warmup_epochs=1)
        return study(n_trials=self.size.n_trials, budget=budget, pruner=pruner)

    def run(self) -> Search:
        """Let things go wrong until all faults are spent, then let the search end, and return what it left."""
        deadline_s = time.monotonic() + LONGEST_S
        while not self._done or self._running:
            assert time.monotonic() < deadline_s, f"not done; {self.n_faults} so far"
            self._tend()
            self._end_faults()
            time.sleep(min(0.5, self.random.expovariate(1 / self.size.mean_pause_s)))
            if self._may_fail() and self.n_faults.total() < self.size.n_faults and not self._done:
                self._fault(self.random.choice(self.size.kinds))
        self._end_faults(everything=True)
        return Search(self.folder, self.spec, self.url)

    def _may_fail(self) -> bool:
        """Return whether every coordinator trained something, on Ray whether one trains.

        There a coordinator connects for seconds. Where faults came meanwhile, nothing but coordinators would be killed.
        """
        n_trainers = len(light.processes(self.tag))
        self._begun |= n_trainers >= self.size.n_coordinators
        return n_trainers > 0 if self.ray else self._begun

    def row(self, where: str) -> Row:
        """Let everything go wrong, and return what came of it."""
        found = self.run()
        kinds = Counter({kind: n for kind, n in self.n_faults.items() if n})
        row = Row(
            where=where,
            faults=kinds,
            n_trials=self.size.n_trials,
            n_ended=self.n_ended,
            n_orphans=len(self.orphans()),
            **asdict(light.tally(found)),
        )
        print(f"\n{line(row)}", flush=True)
        return row

    def orphans(self) -> list[int]:
        """Return the processes that are left a while after the end."""
        with contextlib.suppress(AssertionError):
            light.wait_for(lambda: not light.processes(self.tag), 10)
        return light.processes(self.tag)

    def _tend(self) -> None:
        """Start coordinators anew in place of those that ended; those that end in order are done."""
        for dead in [p for p in self._running if not p.is_alive()]:
            self._running.remove(dead)
            self._done |= dead.exitcode == 0
            self.n_ended += dead.exitcode != 0 and dead.pid not in self._killed
        while len(self._running) < self.size.n_coordinators and not self._done:
            args = (self.folder, self.spec, self.url, self.size.n_slots, self.tag, self.size.epoch_s, self.ray)
            begun = self._context.Process(target=light.coordinate, args=args)
            begun.start()
            self._running.append(begun)

    def _fault(self, kind: str) -> None:
        """Do one thing to whatever there just is, if there is something."""
        what, _, how = kind.rpartition(" ")
        does = {
            "trainer": lambda: self._signal(light.processes(self.tag), how),
            "station": lambda: self._signal(_named("ray::Station", light.processes(self.ray_tag)), how),
            "coordinator": lambda: self._signal([p.pid for p in self._running if p.pid], how),
            "connection": lambda: self.server is not None and self.server.end_connection(self.random.choice),
            "server": self._restart,
            "file": lambda: self._damage(how),
            "disk": self._fill,
        }
        with contextlib.suppress(ProcessLookupError):  # it ended in the meantime
            self.n_faults[kind] += bool(does[what]())

    def _signal(self, pids: Sequence[int], how: str) -> bool:
        alive = [pid for pid in pids if process.start_time(pid)]
        if not alive:
            return False
        pid = self.random.choice(alive)
        os.kill(pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "killed":
            self._killed.add(pid)
        else:
            self._soon(lambda: os.kill(pid, signal.SIGCONT))
        return True

    def _restart(self) -> bool:
        assert self.server is not None
        self.server.stop("immediate")
        self.server.start()
        return True

    def _damage(self, how: str) -> bool:
        """Cut short or delete one of the files that a search keeps, but for the database itself."""
        kept = [f for name in ("checkpoints", "artifacts", "logs") for f in (self.folder / name).rglob("*")]
        if not (files := sorted(file for file in kept if file.is_file())):
            return False
        file = self.random.choice(files)
        with contextlib.suppress(FileNotFoundError):
            if how == "deleted":
                file.unlink()
            else:
                os.truncate(file, self.random.randrange(file.stat().st_size + 1))
            return True
        return False

    def _fill(self) -> bool:
        if self._later:
            return False
        self._soon(fill(self.folder).unlink)
        return True

    def _soon(self, end: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + self.random.expovariate(1 / self.size.mean_stop_s), end))

    def _end_faults(self, *, everything: bool = False) -> None:
        due = [entry for entry in self._later if everything or entry[0] <= time.monotonic()]
        self._later = [entry for entry in self._later if entry not in due]
        for _, end in due:
            with contextlib.suppress(ProcessLookupError):
                end()


def _named(beginning: str, pids: Sequence[int]) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(beginning):
                found.append(pid)
    return found
