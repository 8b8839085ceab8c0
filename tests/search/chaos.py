"""Random kills of everything that a search consists of, and the check that nothing came of it."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from search.executors import process
from studies.spec import FidelitySpec, PrunerSpec, Rung, StudySpec
from tests.search import light
from tests.search.light import Search, study

LONGEST_S = 1800.0
CHEAP_FIRST = FidelitySpec(rungs=(Rung(scale=0.5, epochs=1), Rung(scale=0.75, epochs=2)), reduction_factor=2)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is killed while how much runs."""

    n_kills: int
    n_trials: int
    n_coordinators: int = 1
    n_slots: int = 2
    epoch_s: float = 0.03
    mean_pause_s: float = 0.3  # between two kills
    cheap_first: bool = False


@dataclass
class Chaos:
    """Coordinators of one study, killed and started again until all is done."""

    folder: Path
    url: str
    size: Size
    seed: int = 0
    n_killed_trainers: int = 0
    n_killed_coordinators: int = 0
    _running: list[BaseProcess] = field(default_factory=list)
    _done: bool = False  # a coordinator says that the budget is reached

    def __post_init__(self) -> None:
        self.tag = f"chaos-{self.folder}"
        self.random = random.Random(self.seed)
        self._context = multiprocessing.get_context("forkserver")  # coordinators start without importing anew
        self._context.set_forkserver_preload(["tests.search.light"])

    @property
    def spec(self) -> StudySpec:
        budget = {"max_retries": 1000, "max_same_failures": 1_000_000}
        if self.size.cheap_first:
            return study(n_trials=self.size.n_trials, budget=budget, fidelity=CHEAP_FIRST, pruner=PrunerSpec())
        pruner = PrunerSpec(kind="median", n_startup_trials=5, n_warmup_epochs=1)
        return study(n_trials=self.size.n_trials, budget=budget, pruner=pruner)

    def run(self) -> Search:
        """Kill until the kills are spent, then let the search end, and return what it left."""
        deadline_s = time.monotonic() + LONGEST_S
        while not self._done or self._running:
            assert time.monotonic() < deadline_s, f"not done; {self.n_killed} kills so far"
            self._tend()
            time.sleep(self.random.expovariate(1 / self.size.mean_pause_s))
            if self.n_killed < self.size.n_kills:
                self._kill_one()
        assert self.n_killed == self.size.n_kills, f"the study ended after {self.n_killed} kills: make it longer"
        return Search(self.folder, self.spec, self.url)

    @property
    def n_killed(self) -> int:
        return self.n_killed_trainers + self.n_killed_coordinators

    def assert_no_orphans(self) -> None:
        light.wait_for(lambda: not light.processes(self.tag), 10)

    def _tend(self) -> None:
        """Start coordinators anew in place of those that were killed; those that end by themselves are done."""
        for dead in [p for p in self._running if not p.is_alive()]:
            self._running.remove(dead)
            assert dead.exitcode in (0, -9), f"a coordinator ended with {dead.exitcode}"
            self._done |= dead.exitcode == 0
        while len(self._running) < self.size.n_coordinators and not self._done:
            args = (self.folder, self.spec, self.url, self.size.n_slots, self.tag, self.size.epoch_s)
            begun = self._context.Process(target=light.coordinate, args=args)
            begun.start()
            self._running.append(begun)

    def _kill_one(self) -> None:
        """Kill a coordinator once in four times, else one of the trainers, wherever they just are."""
        coordinators = [p.pid for p in self._running if p.pid is not None and process.start_time(p.pid)]
        trainers = light.processes(self.tag)
        with contextlib.suppress(ProcessLookupError):  # of itself in the meantime
            if coordinators and self.random.random() < 0.25:
                os.kill(self.random.choice(coordinators), signal.SIGKILL)
                self.n_killed_coordinators += 1
            elif trainers:
                os.kill(self.random.choice(trainers), signal.SIGKILL)
                self.n_killed_trainers += 1
