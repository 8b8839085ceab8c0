"""Trials an hour of one study with one trainer and with several, on the same cores.

    python -m benchmarks.side_by_side STUDY FOLDER [--trials 4] [--workers 1,2] [--repeats 3] [--json FILE]

Each side is `pneumo launch STUDY --workers N` in a cold process with a home folder of its own, which begins with the
arrays that an earlier launch decoded and without kept features. "trials an hour" is N divided by the mean time of a
trial: so many finish where a search is long enough that its last trials, which leave trainers idle, don't matter. "wall
time" is that of the whole command, its idle trainers included. Without `--workers` a launch chooses the number by
`search.executors.trainers`.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import optuna

from benchmarks import measure
from benchmarks.measure import Row
from benchmarks.search import Watched, watched
from search.home import Home
from search.storage.database import open_storage
from studies import load

CODES = (0, 3)  # done, and done without a feasible trial


@dataclass(frozen=True, kw_only=True)
class Side:
    """One launch, and what its trials took."""

    n: int
    took: Watched
    trials_s: tuple[float, ...]

    @property
    def per_hour(self) -> float:
        return 3600 * self.n / fmean(self.trials_s)


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("study")
    parser.add_argument("folder", help="in the Kaggle layout, or phantom")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--workers", default="1,2", help="the numbers of trainers to compare")
    asked = parser.parse_args()
    numbers = [int(number) for number in asked.workers.split(",")]
    found: dict[int, list[Side]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(study=asked.study, folder=asked.folder, n_trials=asked.trials, scratch=Path(scratch))
        bench.decode()
        measure.in_turn({str(n): partial(_noted, found[n], bench, n) for n in numbers}, asked.repeats)
    title = f"The first {asked.trials} trials of {asked.study}"
    measure.publish(title, rows(found), environment=measure.machine(), file=asked.json)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Launches of one study, each in a folder of its own within `scratch`."""

    study: str
    folder: str
    n_trials: int
    scratch: Path

    def decode(self) -> None:
        """Keep the arrays of the first trial, by a launch that has no time to train it."""
        self._launch(self.scratch / "first", "--timeout", "1s")

    def run(self, n: int) -> Side:
        """Run the trials with `n` trainers."""
        place = Path(tempfile.mkdtemp(dir=self.scratch))
        shutil.copytree(Home(self.scratch / "first").cache, Home(place).cache, copy_function=os.link)
        took = self._launch(place, "--workers", str(n))
        name = load.load(self.study).spec.name
        trials = optuna.load_study(study_name=name, storage=open_storage(Home(place).storage_url)).trials
        seconds = tuple(trial.duration.total_seconds() for trial in trials if trial.duration is not None)
        return Side(n=n, took=took, trials_s=seconds)

    def _launch(self, place: Path, *more: str) -> Watched:
        place.mkdir(exist_ok=True)
        options = ["--data", self.folder, "--home", str(place), "--trials", str(self.n_trials), *more]
        return watched(["search.cli", "launch", self.study, *options], place, may_end_with=CODES)


def rows(found: dict[int, list[Side]]) -> list[Row]:
    """Return the figures of each number of trainers, and its trials an hour in parts of the first one's."""
    made = []
    for n, sides in found.items():
        name = f"{n} trainer{'s' if n > 1 else ''}"
        made += [
            Row(name=f"{name}: trials an hour", values=tuple(side.per_hour for side in sides), unit="of all trainers"),
            Row(name=f"{name}: wall time", values=tuple(side.took.wall_s for side in sides)),
            Row(name=f"{name}: CPU time", values=tuple(side.took.cpu_s for side in sides)),
            Row(name=f"{name}: peak memory", values=tuple(side.took.peak_bytes / 1e9 for side in sides), unit="GB"),
        ]
    (first_n, first), *others = found.items()
    for n, sides in others:
        times = measure.ratios([side.per_hour for side in sides], [side.per_hour for side in first])
        made.append(Row(name=f"trials an hour {n} ÷ {first_n}", values=times, unit="times"))
    return made


def _noted(sides: list[Side], bench: Bench, n: int) -> float:
    sides.append(bench.run(n))
    return sides[-1].per_hour


if __name__ == "__main__":
    main()
