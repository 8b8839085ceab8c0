"""What the study `pneumonia` finds beside other ways to spend the same processor time.

    python -m benchmarks.rivals FOLDER --home RUNS [--cpu-minutes 18] [--arms ARM,...] [--seeds 0,1] [--json FILE]

Each arm is a process that is interrupted when it and all that it started have taken so much processor time, so that
other work on the machine changes nothing. What is under `--home` already is judged and not run again.

| arm | what |
|---|---|
| pneumonia | `pneumo launch pneumonia`, as it is |
| random | the same space, drawn at random: no queue, no pruning |
| keras_tuner | `keras_tuner.Hyperband` over a usual convolutional hypermodel of 64 px |
| original | models 1 and 2 of the original project at 64 px; 3 to 5 need weights of VGG19 |

All are judged on the same validation images: as they are, pooled with the same images under one shift each (the
objective of `pneumonia`), and with the normal children framed as elsewhere (`benchmarks.framing`, strongest). "best" is
the trial that the search itself puts first, "average" that of the five that `pneumo finalize` would take. The linear
model on 24 x 24 pixels is the trivial baseline. The second table has the best objective value by processor time.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from benchmarks import framing, kept
from benchmarks.search import tree
from pneumo_core import shifts
from pneumo_core.data import preprocess
from pneumo_core.models import forward
from pneumo_core.pictures import Pixels
from pneumo_core.scoring import baselines, operating
from pneumo_core.scoring.average import average
from pneumo_core.specs import DataSpec
from search import records, stored_trials
from search.home import Home
from search.prepared import Prepared, read_source
from search.storage.database import open_storage
from search.study import load_study
from studies import original_models, pneumonia
from studies.spec import UNDER_SHIFTS, BudgetSpec, PrunerSpec, SamplerSpec, SourceSpec, StudySpec

ARMS = ("pneumonia", "random", "keras_tuner", "original")
N_MEMBERS = 5
KERAS_TUNER_DATA = DataSpec()  # 64 px
VIEWS = ("clean", "shifted", "framed")
POLL_S = 0.5
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network, or an average, that an arm ends with."""

    name: str
    scores: dict[str, np.ndarray]  # (n_validation,) by view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--home", required=True, type=Path, help="of all arms")
    parser.add_argument("--cpu-minutes", type=float, default=18.0)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    images = Images(read_source(SourceSpec(source=options.folder), Home(options.home / "images")))
    found, curves = [Found(name="linear on 24 x 24 pixels", scores=images.linear())], []
    for seed in map(int, options.seeds.split(",")):
        for arm in options.arms.split(","):
            place = options.home / f"{arm}-{seed}"
            if not (place / "ended.json").is_file():
                run(arm, seed, place, options.folder, images, options.cpu_minutes)
            found += judged(arm, place, options.folder, images)
            curves.append((place.name, curve(arm, place)))
            print(table(found, images.y), flush=True)
    print()
    print(curve_table(curves, options.cpu_minutes))


def study(arm: str, seed: int) -> StudySpec:
    """Return the study of an arm that `pneumo launch` runs."""
    if arm == "pneumonia":
        return replace(pneumonia.STUDY, seed=seed)
    if arm == "random":
        sampler, pruner = SamplerSpec(kind="random"), PrunerSpec(kind="none")
        return replace(pneumonia.STUDY, name="random", seed=seed, sampler=sampler, pruner=pruner, enqueue=(), prefer=())
    return replace(
        original_models.STUDY,
        name="original",
        seed=seed,
        space=partial(original_models.space, image_size_px=64),
        objective=UNDER_SHIFTS,
        enqueue=original_models.MODELS[:2],
        budget=BudgetSpec(trials=2),
    )


def run(arm: str, seed: int, place: Path, folder: str, images: "Images", cpu_minutes: float) -> None:
    """Run an arm until it ends or has taken its processor time; note when it had taken how much."""
    place.mkdir(parents=True, exist_ok=True)
    if arm == "keras_tuner":
        np.savez(place / "arrays.npz", allow_pickle=False, **images.for_keras_tuner())
        command = ["benchmarks.rivals_keras_tuner", str(place), str(seed)]
    else:
        file = place / "study.py"
        file.write_text(f"from benchmarks.rivals import study\n\nSTUDY = study({arm!r}, {seed})\n", "utf-8")
        command = ["search.cli", "launch", str(file), "--data", folder, "--home", str(place)]
    print(f"{place.name}: {cpu_minutes:g} minutes of processor time", flush=True)
    taken = []
    with (place / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
        while process.poll() is None:
            time.sleep(POLL_S)
            taken.append((time.time(), cpu_s(process.pid)))
            if taken[-1][1] > 60 * cpu_minutes:
                process.send_signal(signal.SIGINT)
                process.wait()
    (place / "ended.json").write_text(json.dumps({"exit": process.returncode, "taken": taken}), "utf-8")


def cpu_s(root: int) -> float:
    """Return the processor time (s) of a process, of all below it and of those of them that ended."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):  # it has just ended
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Images:
    """The validation images as they are, shifted, and with the normal children framed as elsewhere."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.views = cache(self._views)
        self.y = np.asarray(self._validation(KERAS_TUNER_DATA).y)

    def _validation(self, data: DataSpec) -> preprocess.RoleArrays:
        return preprocess.open_role(self._prepared.arrays_for(data), "validation")

    def _views(self, data: DataSpec) -> dict[str, Pixels]:
        role = self._validation(data)
        x, y = np.asarray(role.x), np.asarray(role.y)
        framed = [
            framing.framed(pixels, framing.STRENGTHS[-1]) if ill == 0 else pixels
            for pixels, ill in zip(x, y, strict=True)
        ]
        return dict(zip(VIEWS, (x, shifts.apply_assigned(shifts.ALL, x), np.stack(framed)), strict=True))

    def for_keras_tuner(self) -> dict[str, np.ndarray]:
        fit = preprocess.open_fit_arrays(self._prepared.arrays_for(KERAS_TUNER_DATA))
        return {"x_train": fit.x_train, "y_train": fit.y_train, "y": self.y, **self.views(KERAS_TUNER_DATA)}

    def linear(self) -> dict[str, np.ndarray]:
        fit = preprocess.open_fit_arrays(self._prepared.arrays_for(KERAS_TUNER_DATA))
        views = self.views(KERAS_TUNER_DATA)
        every = np.concatenate([views[view] for view in VIEWS])
        scores = baselines.linear_on_thumbnails(np.asarray(fit.x_train), fit.y_train, every)
        return dict(zip(VIEWS, np.split(scores, len(VIEWS)), strict=True))


def judged(arm: str, place: Path, folder: str, images: Images) -> Iterator[Found]:
    """Yield what an arm ended with: its best network, and the average that it would ship."""
    if arm == "keras_tuner":
        if (place / "best.npz").is_file():
            with np.load(place / "best.npz", allow_pickle=False) as stored:
                yield Found(name=f"{place.name}: best", scores={view: stored[view] for view in VIEWS})
        return
    networks = {network.trial: network for network in kept.networks(folder, place, arm)}
    best = [networks[trial.number] for trial in trials(arm, place) if trial.number in networks][:N_MEMBERS]
    scores = []
    for network in best:
        engine = forward.of_file(network.file)
        scores.append({view: engine.scores(x) for view, x in images.views(network.data).items()})
    if best:
        yield Found(name=f"{place.name}: best", scores=scores[0])
    if best and arm == "pneumonia":
        mean = {view: average([of[view] for of in scores]) for view in VIEWS}
        yield Found(name=f"{place.name}: average of {len(best)}", scores=mean)


def trials(arm: str, place: Path) -> list[FrozenTrial]:
    """Return the feasible trials of an arm, best first."""
    stored = load_study(arm, open_storage(Home(place).storage_url, create=False))
    return records.ranked(stored_trials.trials_of(stored).ours)


def curve(arm: str, place: Path) -> list[tuple[float, float]]:
    """Return the processor time (s) at the end of each trial and its objective value, 0 where infeasible."""
    if arm == "keras_tuner":
        file = place / "trials.json"
        return [tuple(pair) for pair in json.loads(file.read_text("utf-8"))] if file.is_file() else []
    taken = np.array(json.loads((place / "ended.json").read_text("utf-8"))["taken"])
    return [
        (float(np.interp(ended.timestamp(), *taken.T)), trial.values[0])
        for trial in trials(arm, place)
        if (ended := trial.datetime_complete)
    ]


def table(found: Sequence[Found], y: np.ndarray) -> str:
    columns = ("validation AUC", "pooled AUC", "pooled specificity at FNR 3 %", "framed AUC", "framed specificity")
    head = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    return "\n".join(head + [f"| {of.name} | {_row(of, y)} |" for of in found])


def _row(found: Found, y: np.ndarray) -> str:
    clean, shifted, framed = (found.scores[view] for view in VIEWS)
    pooled = operating.judge(*operating.pooled(y, clean, shifted), UNDER_SHIFTS).metrics
    of_framed = operating.judge(y, framed, UNDER_SHIFTS).metrics
    figures = (operating.judge(y, clean, UNDER_SHIFTS).metrics.auc, pooled.auc, pooled.specificity)
    return " | ".join(f"{figure:.3f}" for figure in (*figures, of_framed.auc, of_framed.specificity))


def curve_table(curves: Sequence[tuple[str, list[tuple[float, float]]]], cpu_minutes: float) -> str:
    """Return the best objective value that each arm had after sixths of the processor time."""
    at = [cpu_minutes * k / 6 for k in range(1, 7)]
    head = ["best value after", *(f"{minutes:g} min" for minutes in at), "feasible trials"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---|" * (len(head) - 1)]
    for name, pairs in curves:
        best = [max((value for after_s, value in pairs if after_s <= 60 * minutes), default=0.0) for minutes in at]
        lines.append("| " + " | ".join([name, *(f"{value:.3f}" for value in best), str(len(pairs))]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
