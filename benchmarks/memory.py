"""How much memory a trainer process holds from trial to trial.

    python -m benchmarks.memory [--trials 50] [--backend tensorflow|jax] [--keep] [--json FILE]

Real trials of `studies/quickstart.py`, drawn at random, go one after another through one slot. By default the slot gets
a fresh process when the one in it is worn, as in a search; `--keep` keeps the first one to the end.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from pneumo_core.errors import TrialFailed
from pneumo_core.wire import EpochDone, RunTrial, TrialDone, TrialError
from search.executors.devices import Machine
from search.executors.local import Limits, LocalExecutor
from search.executors.process import resident_bytes
from search.home import Home
from search.launching import local_executor
from search.prepared import read_source
from spaces.base import Recorder
from studies import quickstart

N_EPOCHS = 2
WARM = 10  # trials after which memory should no longer grow
NEVER = Limits(trials_per_child=10**9, memory_growth=1e9)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the process in the slot held after a trial."""

    trial: int  # from 1
    pid: int
    resident_mb: float


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = measure(Path(folder), asked.trials, asked.backend, NEVER if asked.keep else Limits())
    print(_table(samples, asked.backend))
    if asked.json:
        facts = {"backend": asked.backend, "kept": asked.keep, "samples": [asdict(each) for each in samples]}
        asked.json.write_text(json.dumps(facts, indent=1), "utf-8")


def measure(folder: Path, n_trials: int, backend: str, limits: Limits) -> list[Sample]:
    """Run trials through one slot and return what it held after each."""
    home = Home(folder)
    prepared = read_source(quickstart.STUDY.data, home)
    executor = local_executor(Machine(device="cpu", workers=1, backend=backend, limits=limits), home.logs("memory"))
    samples = []
    try:
        for number in range(1, n_trials + 1):
            spec = quickstart.STUDY.space(Recorder(seed=number))
            warmup_epochs = min(spec.train.warmup_epochs, N_EPOCHS)
            spec = replace(spec, train=replace(spec.train, epochs=N_EPOCHS, warmup_epochs=warmup_epochs))
            task = RunTrial(
                number=number,
                spec=spec,
                objective=quickstart.STUDY.objective,
                seed=number,
                arrays=str(prepared.arrays_for(spec.data)),
                checkpoint=str(folder / f"checkpoint-{number}"),
            )
            samples.append(_run(executor, task))
            print(f"trial {number}: {samples[-1].resident_mb:.0f} MB", file=sys.stderr)
    finally:
        executor.close()
    return samples


def _run(executor: LocalExecutor, task: RunTrial) -> Sample:
    executor.submit(task)
    while True:
        for event in executor.poll(1.0):
            if isinstance(event, EpochDone):
                executor.reply(event.number, stop=False)
            elif isinstance(event, TrialError):
                raise TrialFailed(event.reason, event.message)
            elif isinstance(event, TrialDone):
                pid = _child()
                return Sample(trial=task.number, pid=pid, resident_mb=resident_bytes(pid) / 2**20)


def _child() -> int:
    """Return the number of this process's one child."""
    [pid] = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return int(pid)


def _table(samples: Sequence[Sample], backend: str) -> str:
    rows = []
    for n, (_, group) in enumerate(groupby(samples, key=lambda sample: sample.pid), 1):
        mine = list(group)
        warm = mine[min(WARM, len(mine)) - 1].resident_mb
        held = " | ".join(f"{mb:.0f} MB" for mb in (mine[0].resident_mb, warm, mine[-1].resident_mb))
        growth = f"{mine[-1].resident_mb / warm - 1:+.0%}" if len(mine) > WARM else ""
        rows.append(f"| {n} ({backend}) | {mine[0].trial} to {mine[-1].trial} | {held} | {growth} |")
    head = f"| process | trials | after its first | after its {WARM}th | after its last | growth since the {WARM}th |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
