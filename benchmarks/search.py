"""One search by this project, by KerasTuner, and by Optuna with `model.fit`: the same 16 networks, images and epochs.

    python -m benchmarks.search FOLDER [--trials 16] [--epochs 8] [--images 1600] [--arms ARM,...] [--json FILE]

The configurations are drawn once from the space of the study `cnn` (64 px), without augmentation and with constant
rates. All arms build the same Keras networks, train them on the same arrays by the same optimizer, batches, class
weights and label smoothing, score the validation images after each epoch, keep the epoch of the highest validation
AUC, and save as their authors made them: this project to SQLite, checkpoints and artifacts, KerasTuner to its folder,
Optuna to SQLite. Each arm is a process of its own, started cold; the images are decoded before (`benchmarks.ingest`
measures that), save the smaller ones of `ours_cheap_first`. Memory is the largest sum of the proportional set sizes
of the arm's processes.

| arm | what |
|---|---|
| ours | `pneumo launch`, no pruning, the precision that suits the machine, as in the study `cnn` |
| ours_float32 | the same with `precision="float32"` |
| ours_cheap_first | `ours` with `fidelity`: small images and few epochs first, as in the study `cnn_cheap_first` |
| ours_parallel, ours_cheap_first_parallel | the same with `--workers`, one a core |
| keras_tuner | `GridSearch` over the configurations, `tuner.search` |
| optuna | `study.optimize` over the configurations, `model.fit` |

"time to the same quality" compares the times until ours and the other (cheap-first: also `ours`) have finished a trial
whose validation pAUC is at most one standard error below the best that the other finds at all; infinite where ours
never has one. The standard error is that of the other's best trial over bootstrapped validation images: what is closer
can't be ranked on these images (the one-standard-error rule of Breiman et al. 1984). Which configuration comes
first is luck, so the next row takes the other's mean over all orders of its trials. Each repetition draws other
configurations.

What an arm needs and isn't installed is said before anything runs. After each arm the file is written anew; where an
arm fails, the table is made of what there is.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import TrialState

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core import codec
from pneumo_core.data.preprocess import open_fit_arrays
from pneumo_core.parallel import n_cores
from pneumo_core.scoring.intervals import patient_bootstrap
from pneumo_core.scoring.metrics import pauc
from pneumo_core.specs import AugmentSpec, DataSpec, ObjectiveSpec, Precision, TrialSpec
from search.home import Home
from search.prepared import read_source
from search.storage import artifacts
from search.storage.database import open_storage
from spaces.base import Recorder, Suggest
from studies import cnn
from studies.spec import BudgetSpec, FidelitySpec, PrunerSpec, Rung, SamplerSpec, SourceSpec, StudySpec

PARALLEL = "_parallel"
ARMS = (
    "ours",
    "ours_parallel",
    "ours_float32",
    "ours_cheap_first",
    "ours_cheap_first_parallel",
    "keras_tuner",
    "optuna",
)
OTHERS = ("keras_tuner", "optuna")
NEEDS = {"keras_tuner": ("keras_tuner", "tensorboard")}  # the second without saying so
ARRAYS = ("x_train", "y_train", "x_validation", "y_validation")
N_RESAMPLES, ONE_SIGMA = 500, 0.6827
ROOT = Path(__file__).parents[1]
SAMPLE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Configured:
    """The space of the benchmark: that of the study `cnn` with what all arms can do alike."""

    epochs: int
    precision: Precision | Literal["auto"] = "auto"

    def __call__(self, suggest: Suggest) -> TrialSpec:
        drawn = cnn.space(suggest)
        train = replace(
            drawn.train,
            epochs=self.epochs,
            patience=self.epochs,
            schedule="constant",
            warmup_epochs=0.0,
            augment=AugmentSpec(),
            monitor="auc",
            precision=self.precision,
        )
        return replace(drawn, train=train)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One trial of one arm."""

    after_s: float  # since the arm was started
    pauc: float
    standard_error: float  # of `pauc`, over validation images


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What one arm took and found."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    trials: tuple[Finished, ...]

    @property
    def best(self) -> Finished:
        return max(self.trials, key=lambda trial: trial.pauc)

    def time_to(self, pauc: float) -> float:
        """Return when a trial was first that good; infinity for never."""
        return min((trial.after_s for trial in self.trials if trial.pauc >= pauc), default=float("inf"))

    def mean_time_to(self, pauc: float) -> float:
        """Return `time_to`, of trials one after another, as the mean over all their orders.

        The first good one takes as long as good ones take on average; a bad one is before all k good ones in one order
        of k + 1.
        """
        trials = sorted(self.trials, key=lambda trial: trial.after_s)
        took_s = [b.after_s - a for a, b in zip([0.0, *(trial.after_s for trial in trials)], trials, strict=False)]
        good = [s for s, trial in zip(took_s, trials, strict=True) if trial.pauc >= pauc]
        return sum(good) / len(good) + (sum(took_s) - sum(good)) / (len(good) + 1) if good else float("inf")


def main() -> None:
    """Parse, run the arms in turn, print."""
    parser = measure.parser(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("folder", type=Path, help="in the Kaggle layout, or phantom")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=1600, help="of a folder, for all roles; 0: all")
    parser.add_argument("--arms", default=",".join(ARMS))
    asked = parser.parse_args()
    names = asked.arms.split(",")
    check_arms(names)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench.prepared(asked, Path(scratch))
        found, failure = run_in_turn(bench.run, names, asked.repeats, asked.json)
    images = f"{bench.n_train} images of 64 px to train on, {len(bench.labels)} to validate"
    title = f"{asked.trials} trials of {asked.epochs} epochs; {images}"
    measure.publish(title, summarised(found), environment=measure.machine(), file=asked.json, runs=_as_data(found))
    if failure:
        raise SystemExit(failure)


def run_in_turn(
    run: Callable[[str, int], Ran], names: Sequence[str], n_repeats: int, file: Path | None
) -> tuple[dict[str, list[Ran]], str]:
    """Run each arm so often, another one first in each repetition; return what they took, and how one failed, or ""."""
    found: dict[str, list[Ran]] = {}
    for repetition in range(n_repeats):
        first = repetition % len(names)
        for name in (*names[first:], *names[:first]):
            try:
                ran = run(name, repetition)
            except ArmFailed as error:
                return found, f"{name}: {error}"
            found.setdefault(name, []).append(ran)
            print(f"{name}: {ran.wall_s:.0f} s, best pAUC {ran.best.pauc:.4f}", flush=True)
            _keep(found, file)
    return found, ""


class ArmFailed(Exception):
    """An arm's process ended in another way than it should."""


def check_arms(names: Sequence[str]) -> None:
    """End with what is wrong with the arms asked for: an unknown name, or a package that isn't installed."""
    if unknown := [name for name in names if name not in ARMS]:
        raise SystemExit(f"--arms: there is no {', '.join(unknown)}; arms: {', '.join(ARMS)}")
    for name in names:
        if missing := [package for package in NEEDS.get(name, ()) if importlib.util.find_spec(package) is None]:
            raise SystemExit(f"the arm {name} needs {', '.join(missing)}: pip install {' '.join(missing)}")


def _keep(found: Mapping[str, Sequence[Ran]], file: Path | None) -> None:
    """Write what was measured so far: a run takes half an hour, and may end in any of its minutes."""
    if file is not None:
        file.write_text(json.dumps({"environment": measure.machine(), "runs": _as_data(found)}, indent=1), "utf-8")


def _as_data(found: Mapping[str, Sequence[Ran]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(ran) for ran in of_arm] for name, of_arm in found.items()}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The images and configurations that all arms share, in a scratch folder."""

    folder: Path
    scratch: Path
    n_trials: int
    epochs: int
    n_train: int
    labels: np.ndarray  # (n,) of the validation images

    @staticmethod
    def prepared(asked: Namespace, scratch: Path) -> "Bench":
        folder = _some_of(asked.folder, asked.images, scratch / "images")
        prepared = read_source(SourceSpec(source=str(folder)), Home(scratch / "home"))
        arrays = open_fit_arrays(prepared.arrays_for(DataSpec()))
        np.savez(scratch / "arrays.npz", **{name: getattr(arrays, name) for name in ARRAYS})
        n_train, labels = len(arrays.x_train), np.asarray(arrays.y_validation)
        return Bench(
            folder=folder, scratch=scratch, n_trials=asked.trials, epochs=asked.epochs, n_train=n_train, labels=labels
        )

    def run(self, arm: str, repetition: int) -> Ran:
        """Run one arm to its end."""
        place = self.scratch / f"{arm}-{repetition}"
        place.mkdir()
        seeds = range(repetition * self.n_trials, (repetition + 1) * self.n_trials)
        return self._others(arm, place, seeds) if arm in OTHERS else self._ours(arm, place, seeds)

    def _ours(self, arm: str, place: Path, seeds: range) -> Ran:
        file, url = place / "study.py", f"sqlite:///{place / 'pneumo.db'}"
        name = arm.removesuffix(PARALLEL)
        call = f"study({name!r}, {seeds!r}, epochs={self.epochs})"
        file.write_text(f"from benchmarks.search import study\n\nSTUDY = {call}\n", "utf-8")
        command = ["search.cli", "launch", str(file), "--data", str(self.folder), "--storage", url]
        command += ["--workers", str(n_cores() if arm.endswith(PARALLEL) else 1)]
        home = Home(self.scratch / "home")
        measured = watched([*command, "--home", str(home.path)], place, may_end_with=(0, 3))
        storage, kept = open_storage(url), artifacts.store(home.artifacts)
        finished = []
        for trial in optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False):
            result = artifacts.load_result(kept, trial, storage)
            if trial.state is TrialState.COMPLETE and result and trial.datetime_complete:
                finished.append(self._finished(trial.datetime_complete.timestamp() - measured.began_s, result.scores))
        return measured.ran(finished)

    def _others(self, arm: str, place: Path, seeds: range) -> Ran:
        specs = [Configured(epochs=self.epochs)(Recorder(seed=seed)) for seed in seeds]
        drawn, out = place / "configurations.json", place / "trials.json"
        drawn.write_text(json.dumps([codec.to_json(spec) for spec in specs]), "utf-8")
        files = [str(self.scratch / "arrays.npz"), str(drawn), str(out)]
        measured = watched(["benchmarks.search_others", arm, *files], place)
        trials = json.loads(out.read_text("utf-8"))
        return measured.ran([self._finished(trial["ended_s"] - measured.began_s, trial["scores"]) for trial in trials])

    def _finished(self, after_s: float, scores: Sequence[float]) -> Finished:
        found = patient_bootstrap(
            self.labels,
            scores,
            np.arange(len(self.labels)),
            {"pauc": _pauc},
            seed=0,
            n_resamples=N_RESAMPLES,
            confidence=ONE_SIGMA,
        )["pauc"]
        return Finished(
            after_s=after_s, pauc=_pauc(self.labels, np.asarray(scores)), standard_error=(found.high - found.low) / 2
        )


def _pauc(y: np.ndarray, scores: np.ndarray) -> float:
    return pauc(y, scores, ObjectiveSpec().fnr_ceiling)


def study(arm: str, seeds: range, *, epochs: int) -> StudySpec:
    """Return the study of one of our arms: the drawn configurations, waiting in its queue."""
    space = Configured(epochs=epochs, precision="float32" if arm == "ours_float32" else "auto")
    recorders = [Recorder(seed=seed) for seed in seeds]
    for recorder in recorders:
        space(recorder)
    return StudySpec(
        name=arm,
        space=space,
        objective=ObjectiveSpec(kind="pauc"),
        sampler=SamplerSpec(kind="random"),
        pruner=PrunerSpec(kind="none"),
        fidelity=cheap_first(epochs) if arm == "ours_cheap_first" else None,
        budget=BudgetSpec(trials=len(seeds)),
        enqueue=tuple(recorder.values for recorder in recorders),
    )


def cheap_first(epochs: int) -> FidelitySpec:
    """Return rungs at half the size after a quarter of the epochs, at three quarters after half of them."""
    first = max(1, epochs // 4)
    return FidelitySpec(rungs=(Rung(scale=0.5, epochs=first), Rung(scale=0.75, epochs=max(first + 1, epochs // 2))))


def summarised(found: Mapping[str, Sequence[Ran]]) -> list[Row]:
    """Return the rows of the table: what each arm took, then ours in parts of the others."""
    rows = []
    for name, runs in found.items():
        rows += [
            Row(name=f"{name}: wall time", values=tuple(ran.wall_s for ran in runs)),
            Row(name=f"{name}: CPU time", values=tuple(ran.cpu_s for ran in runs)),
            Row(name=f"{name}: peak memory", values=tuple(ran.peak_bytes / 1e9 for ran in runs), unit="GB"),
            Row(name=f"{name}: best validation pAUC", values=tuple(ran.best.pauc for ran in runs), unit="of 1"),
            Row(name=f"{name}: its standard error", values=tuple(ran.best.standard_error for ran in runs), unit="of 1"),
        ]
    for name in (name for name in found if name not in OTHERS):
        beside = ("ours", *OTHERS) if name.startswith("ours_cheap_first") else OTHERS
        for other in (other for other in beside if other in found):
            pairs = [
                (a, b, b.best.pauc - b.best.standard_error) for a, b in zip(found[name], found[other], strict=False)
            ]
            quality = f"time to the same quality {name} ÷"
            shares = {
                f"wall time {name} ÷ {other}": [a.wall_s / b.wall_s for a, b, _ in pairs],
                f"{quality} {other}": [a.time_to(pauc) / b.time_to(pauc) for a, b, pauc in pairs],
                f"{quality} mean of {other} over all orders": [
                    a.time_to(pauc) / b.mean_time_to(pauc) for a, b, pauc in pairs
                ],
            }
            rows += [Row(name=what, values=tuple(values), unit="times") for what, values in shares.items()]
    return rows


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a process and all it started took."""

    began_s: float  # since the epoch
    wall_s: float
    cpu_s: float
    peak_bytes: int

    def ran(self, trials: Sequence[Finished]) -> Ran:
        return Ran(wall_s=self.wall_s, cpu_s=self.cpu_s, peak_bytes=self.peak_bytes, trials=tuple(trials))


def watched(module: Sequence[str], place: Path, may_end_with: tuple[int, ...] = (0,)) -> Watched:
    """Run `python -m module ...` in a cold process and watch it; its output goes to a file in `place`."""
    began_s, peak = time.time(), Peak()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    with (place / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        with peak.of(process.pid):
            _, status, usage = os.wait4(process.pid, 0)
    wall_s, code = time.time() - began_s, os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in may_end_with:
        raise ArmFailed(f"{module[0]} ended with {code}:\n{(place / 'output.txt').read_text(errors='replace')[-3000:]}")
    return Watched(began_s=began_s, wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=peak.n_bytes)


class Peak:
    """The largest memory of a process and all below it, sampled in a thread."""

    def __init__(self) -> None:
        self.n_bytes = 0

    @contextlib.contextmanager
    def of(self, pid: int) -> Iterator[None]:
        over = threading.Event()

        def sample() -> None:
            while not over.wait(SAMPLE_S):
                self.n_bytes = max(self.n_bytes, sum(map(_share_bytes, tree(pid))))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def tree(root: int) -> list[int]:
    """Return the process and all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _share_bytes(pid: int) -> int:
    """Return a process's proportional set size: shared pages are divided among who shares them."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def _some_of(folder: Path, n_images: int, into: Path) -> Path:
    """Return a folder of copies of `n_images` of the images in the Kaggle layout, in the classes' proportions."""
    if not n_images or not folder.exists():  # the word phantom
        return folder
    found = {name: sorted(folder.rglob(f"{name}/*")) for name in ("NORMAL", "PNEUMONIA")}
    share = n_images / sum(map(len, found.values()))
    for name, files in found.items():
        (into / name).mkdir(parents=True)
        for file in files[: round(share * len(files))]:
            shutil.copyfile(file, into / name / file.name)
    return into


if __name__ == "__main__":
    main()
