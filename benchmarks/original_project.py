"""The original project's models under its own leaking protocol and under patient-grouped roles, beside its table.

    python -m benchmarks.original_project --data FOLDER [--home runs/original]

Trains `original_models_32` (models 1 and 2 at 32 px; the published figures are at 256 px) under both protocols and
prints a Markdown table. Figures are of the validation role at a score of 0.5, the published ones of a test set that
shared patients with its training set. The test role stays closed.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumo_core.data.preprocess import open_fit_arrays
from pneumo_core.scoring.metrics import auc, confusion
from search.home import Home
from search.launching import with_options
from search.prepared import read_source
from search.storage import artifacts
from search.storage.database import open_storage
from search.study import load_study
from studies import load

STUDY = "original_models_32"
PROTOCOLS = ("per_image_random", "patient_grouped")
PUBLISHED = {0: ("92.15 %", "25/428 = 5.84 %", "0.966"), 1: ("96.08 %", "11/428 = 2.57 %", "0.986")}
NAMES = {0: "1: dense 25, 50", 1: "2: conv 256, max-pool, dense 25, 50"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained model on the validation role, positive from a score of 0.5."""

    accuracy: str
    fnr: str
    auc: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="folder in the Kaggle layout")
    parser.add_argument("--home", type=Path, default=Path("runs/original"))
    options = parser.parse_args()
    measured = {protocol: _run(protocol, options.data, options.home) for protocol in PROTOCOLS}
    _print(measured)


def _run(protocol: str, data: str, home: Path) -> dict[int, Row]:
    name = f"original-{protocol}"
    launch = ["launch", STUDY, "--data", data, "--protocol", protocol, "--name", name, "--home", str(home)]
    done = subprocess.run([sys.executable, "-m", "search.cli", *launch], check=False)
    if done.returncode not in (0, 3):  # 3: no model meets the ceiling, which is a result here
        raise SystemExit(done.returncode)
    return _read(name, protocol, data, Home(home))


def _read(name: str, protocol: str, data: str, home: Home) -> dict[int, Row]:
    study = with_options(load.load(STUDY), data=data, protocol=protocol, name=name)
    prepared = read_source(study.spec.data, home)
    storage = open_storage(home.storage_url)
    store = artifacts.store(home.artifacts)
    rows = {}
    for trial in load_study(name, storage).get_trials(deepcopy=False)[: len(NAMES)]:
        result = artifacts.load_result(store, trial, storage)
        if result is not None:
            y = open_fit_arrays(prepared.arrays_for(study.draws.trials[0].data)).y_validation
            rows[trial.number] = _row(np.asarray(y), np.asarray(result.scores))
    return rows


def _row(y: np.ndarray, scores: np.ndarray) -> Row:
    counts = confusion(y, scores, 0.5)
    n_missed, n_positive = counts.false_negative, counts.false_negative + counts.true_positive
    return Row(
        accuracy=f"{counts.accuracy:.2%}",
        fnr=f"{n_missed}/{n_positive} = {counts.fnr:.2%}",
        auc=f"{auc(y, scores):.3f}",
    )


def _print(measured: dict[str, dict[int, Row]]) -> None:
    print("| model | protocol | size | accuracy | FNR | AUC |\n|---|---|---|---|---|---|")
    for number, name in NAMES.items():
        print(f"| {name} | published: random per image, test set | 256 px | " + " | ".join(PUBLISHED[number]) + " |")
        for protocol, rows in measured.items():
            if number in rows:
                row = rows[number]
                print(f"| {name} | {protocol}, validation | 32 px | {row.accuracy} | {row.fnr} | {row.auc} |")


if __name__ == "__main__":
    main()
