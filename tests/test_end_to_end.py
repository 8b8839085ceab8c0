"""Whole searches through the command line, with real Keras models on phantoms and on real radiographs."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from search.executors.devices import Machine
from search.executors.local import LocalExecutor
from tests import in_process
from tests.commands import (
    ROOT,
    children_of,
    command,
    environment,
    last_json,
    pneumo,
    pneumo_here,
    run_with_commands_here,
    wait_for,
    write_study,
)

REAL = Path(os.environ.get("PNEUMO_TEST_DATA", ROOT.parent / "shared" / "data")) / "chest_xray" / "train"

# A ceiling under which the few tiny models that a test can afford are feasible.
LENIENT = "objective=__import__('pneumo_core.specs', fromlist=['x']).ObjectiveSpec(fnr_ceiling=0.95),"


def trials(folder: Path) -> list[dict[str, Any]]:
    """Return the trials of the only study, read with plain SQL: state, attributes and values."""
    with sqlite3.connect(folder / "runs" / "pneumo.db") as database:
        rows = database.execute("select trial_id, number, state from trials order by number").fetchall()
        found = []
        for trial_id, number, state in rows:
            attrs = database.execute(
                "select key, value_json from trial_user_attributes where trial_id = ?", (trial_id,)
            ).fetchall()
            values = database.execute("select value from trial_values where trial_id = ?", (trial_id,)).fetchall()
            steps = database.execute(
                "select step, intermediate_value from trial_intermediate_values where trial_id = ?", (trial_id,)
            ).fetchall()
            attributes = {key: json.loads(value) for key, value in attrs}
            found.append(
                {"number": number, "state": state, "attrs": attributes, "values": values, "steps": dict(steps)}
            )
        return found


def finished(folder: Path) -> list[dict[str, Any]]:
    return [t for t in trials(folder) if t["state"] in ("COMPLETE", "PRUNED")]


@pytest.fixture(scope="module")
def searched(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a finished search of three trials, and what `launch` said of it. Tests work on copies."""
    folder = tmp_path_factory.mktemp("searched")
    launch = ("launch", write_study(folder, more=LENIENT), "--data", phantoms, "--workers", 1, "--json")
    return folder, last_json(pneumo(*launch, folder=folder))


@pytest.fixture
def copied(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return shutil.copytree(searched[0], tmp_path / "copied")


def test_launch_resume_extend_and_review(searched: tuple[Path, dict[str, Any]], copied: Path, phantoms: Path) -> None:
    first = searched[1]
    launch = ("launch", "small.py", "--data", phantoms, "--json")
    assert set(first) == {"study", "storage", "trials", "open", "failures", "best"}
    assert first["trials"]["complete"] + first["trials"]["pruned"] == 3
    assert first["trials"]["failed"] == 0

    again = pneumo_here(*launch, folder=copied)
    assert last_json(again) == first
    assert "Budget reached" in again.stderr

    more = last_json(pneumo_here(*launch, "--trials", 4, folder=copied))
    assert sum(more["trials"].values()) == 4
    assert last_json(pneumo_here("status", "small", "--json", folder=copied)) == more
    assert children_of(copied) == []

    for trial in finished(copied):
        contract = {"recall", "specificity", "fnr", "auc", "pauc", "threshold", "seconds", "best_epoch", "n_parameters"}
        assert contract <= set(trial["attrs"])
        assert all(isinstance(trial["attrs"][name], int | float) for name in contract)
        assert trial["attrs"]["spec"]["model"]["kind"] == "cnn"

    write_study(copied, epochs=3, more=LENIENT)
    refused = pneumo_here(*launch, folder=copied, code=2)
    assert "differs from the stored one" in refused.stderr
    assert len(finished(copied)) == 4


def test_a_trial_is_trained_again_to_the_same_figures_and_its_bundle_is_not_certified(
    copied: Path, phantoms: Path
) -> None:
    trial = finished(copied)[0]
    done = pneumo(
        "train-trial", "small.py", trial["number"], "--data", phantoms, "--out", "one", "--json", folder=copied
    )
    found = last_json(done)
    assert found["guarantee"] == "none"
    assert found["validation"] == {name: trial["attrs"][name] for name in found["validation"]}
    assert "These are the figures of the search" in done.stderr
    card = (copied / "one" / "MODEL_CARD.md").read_text()
    assert card.startswith("---\nlibrary_name:")
    assert "**Not certified**" in card
    file = next(phantoms.glob("NORMAL/*.png"))
    [row] = last_json(pneumo_here("predict", "one", file, "--json", folder=copied))
    assert row["threshold"] == trial["attrs"]["threshold"]


OPTUNA = """
import sys
from optuna.cli import main
for command in (["studies"], ["trials", "--study-name", "small"], ["best-trial", "--study-name", "small"]):
    sys.argv = ["optuna", *command, "-f", "json", "--storage", "sqlite:///runs/pneumo.db"]
    assert not main()
"""


def test_the_plain_optuna_command_line_reads_the_database(searched: tuple[Path, dict[str, Any]]) -> None:
    folder, found = searched
    call = [sys.executable, "-c", OPTUNA]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    studies, rows, best = map(json.loads, done.stdout.splitlines())
    assert [row["name"] for row in studies] == ["small"]
    assert len(rows) == 3
    assert best["number"] == found["best"]["number"]
    assert best["params"] == found["best"]["params"]


def test_the_same_seed_gives_the_same_trials_and_values_and_another_one_others(
    searched: tuple[Path, dict[str, Any]], phantoms: Path, tmp_path: Path
) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for folder, more in ((same, ()), (other, ("--seed", "8", "--trials", 1))):
        folder.mkdir()
        pneumo_here("launch", write_study(folder, more=LENIENT), "--data", phantoms, *more, folder=folder)
    assert told(same) == told(searched[0])
    assert not specs(other) & specs(searched[0])


def specs(folder: Path) -> set[str]:
    return {json.dumps(t["attrs"]["spec"], sort_keys=True) for t in trials(folder)}


# Holds the search in a trial's second epoch or later while there is a file of its number.
HOLD = """
import time
from pathlib import Path

class Hold:
    def epoch(self, number, epoch, metrics):
        while epoch >= 1 and Path(f"hold-{number}").exists():
            Path(f"held-{number}").touch()
            time.sleep(0.02)
"""


def held_study(folder: Path) -> None:
    """Write a study of one trial that is held as often as it is begun anew, three times at most."""
    folder.mkdir()
    study = write_study(folder, epochs=6, more="hooks=(Hold(),),")
    text = study.read_text()
    assert "trials=3" in text
    study.write_text(HOLD + text.replace("trials=3", "trials=1"))


def start(folder: Path, phantoms: Path, number: int) -> "subprocess.Popen[bytes]":
    """Return a launch that runs, once it is held in trial `number`."""
    process = subprocess.Popen(
        command("launch", "small.py", "--data", phantoms),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until_held(folder, number)
    return process


def wait_until_held(folder: Path, number: int) -> None:
    wait_for((folder / f"held-{number}").exists, f"trial {number} to be in mid-training")


def failures(folder: Path) -> list[dict[str, Any]]:
    return [t["attrs"]["failure"] for t in trials(folder) if t["state"] == "FAIL"]


def told(folder: Path) -> list[Any]:
    """Return what each trial came to: not how long it took."""
    names = ("spec", "recall", "specificity", "fnr", "auc", "pauc", "threshold", "best_epoch", "n_epochs")
    return [(t["state"], t["values"], t["steps"], *(t["attrs"][name] for name in names)) for t in finished(folder)]


@contextmanager
def one_trainer() -> Iterator[None]:
    """Let launches in this process share one trainer process, which the first of them starts."""
    made: list[LocalExecutor] = []

    def once(machine: Machine, logs: Path) -> LocalExecutor:
        return made[0] if made else made.append(in_process.LOCAL_EXECUTOR(machine, logs)) or made[0]

    try:
        with mock.patch.object(in_process, "training", once), mock.patch.object(LocalExecutor, "close"):
            yield
    finally:
        for executor in made:
            executor.close()


def test_a_killed_child_ctrl_c_and_a_killed_coordinator_change_nothing(phantoms: Path, tmp_path: Path) -> None:
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    for folder in (broken, unbroken):
        held_study(folder)
    holds = [broken / f"hold-{number}" for number in range(3)]
    for hold in holds:
        hold.touch()

    process = start(broken, phantoms, 0)
    [child] = children_of(broken)
    os.kill(child, signal.SIGKILL)
    holds[0].unlink()
    wait_until_held(broken, 1)
    [death] = failures(broken)
    assert death["reason"] == "child_died"
    assert "SIGKILL" in death["message"]

    process.send_signal(signal.SIGINT)
    holds[1].unlink()
    assert process.wait(timeout=300) == 130
    assert children_of(broken) == []
    assert "RUNNING" not in {t["state"] for t in trials(broken)}

    process = start(broken, phantoms, 2)
    process.kill()
    process.wait()
    wait_for(lambda: not children_of(broken), "its child to end")

    holds[2].unlink()
    launch = ("launch", "small.py", "--data", phantoms, "--json")
    with one_trainer():
        last, whole = (last_json(pneumo_here(*launch, folder=folder, code=None)) for folder in (broken, unbroken))
    assert last["trials"] == whole["trials"] == {"complete": 1, "pruned": 0, "failed": 0}
    assert told(broken) == told(unbroken)
    assert [found["reason"] for found in failures(broken)] == ["child_died", "interrupted", "lost"]
    assert children_of(broken) == []


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real radiographs at {REAL}")
def test_real_radiographs_with_a_bad_file_among_them(tmp_path: Path) -> None:
    source = tmp_path / "xrays"
    for label, n in (("NORMAL", 40), ("PNEUMONIA", 60)):
        (source / label).mkdir(parents=True)
        for file in sorted((REAL / label).iterdir())[:n]:
            os.link(file, source / label / file.name) if file.stat().st_dev == tmp_path.stat().st_dev else (
                source / label / file.name
            ).write_bytes(file.read_bytes())
    (source / "PNEUMONIA" / "broken.jpeg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    study = write_study(tmp_path)
    done = pneumo_here("launch", study, "--data", source, "--trials", 1, folder=tmp_path, code=None)
    assert "1 complete" in done.stdout
    assert "broken.jpeg" in done.stdout
    checked = pneumo_here("data", "check", source, folder=tmp_path)
    assert "broken.jpeg" in checked.stdout


def test_the_script_in_the_docs_runs_from_folder_to_bundle(phantoms: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, more=LENIENT)
    run_with_commands_here((ROOT / "docs" / "end_to_end.sh", phantoms, "work", study, 1), tmp_path, MEMBERS="1")
    work = tmp_path / "work"
    assert {"model.keras", "bundle.json", "MODEL_CARD.md", "report.html"} <= {
        f.name for f in (work / "bundle").iterdir()
    }
    for folder in ("report", "bundle"):
        assert "where the model looked" in (work / folder / "report.html").read_text()
    assert json.loads((work / "evaluation.json").read_text())["n"] == 240
    assert len(list((work / "heatmaps").iterdir())) == 20
