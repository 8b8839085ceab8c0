"""Whole searches through the command line, with real Keras models on phantoms and on real radiographs."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import (
    ROOT,
    children_of,
    command,
    environment,
    last_json,
    pneumo,
    pneumo_here,
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
    launch = ("launch", write_study(folder, more=LENIENT), "--data", phantoms, "--json")
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
    pneumo("launch", write_study(tmp_path, more=LENIENT), "--data", phantoms, folder=tmp_path)

    def told(folder: Path) -> list[Any]:
        return [(t["state"], t["values"], t["steps"], t["attrs"]["spec"]) for t in trials(folder)]

    assert told(tmp_path) == told(searched[0])

    other = tmp_path / "other"
    other.mkdir()
    pneumo_here("launch", write_study(other, more=LENIENT), "--data", phantoms, "--seed", "8", folder=other)
    assert [t["attrs"]["spec"] for t in trials(other)] != [t["attrs"]["spec"] for t in trials(tmp_path)]


def start(folder: Path, phantoms: Path) -> "subprocess.Popen[bytes]":
    """Return a launch that runs, once it has reported an epoch that was not there before."""
    n_before = len(epochs(folder))
    process = subprocess.Popen(
        command("launch", "small.py", "--data", phantoms),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(epochs(folder)) > n_before, "an epoch")
    return process


def epochs(folder: Path) -> set[tuple[int, int]]:
    """Return (trial, epoch) of all that was reported; none while the database is being made."""
    if not (folder / "runs" / "pneumo.db").exists():
        return set()
    try:
        return {(trial["number"], step) for trial in trials(folder) for step in trial["steps"]}
    except sqlite3.Error:
        return set()


def failures(folder: Path) -> list[dict[str, Any]]:
    return [t["attrs"]["failure"] for t in trials(folder) if t["state"] == "FAIL"]


def test_a_killed_child_ctrl_c_and_a_killed_coordinator_lose_nothing(phantoms: Path, tmp_path: Path) -> None:
    """Each comes in the middle of a trial, if this process is not kept waiting; what must hold then holds always."""
    study = write_study(tmp_path, epochs=100)
    study.write_text(study.read_text().replace("batch_size=32", "batch_size=32, patience=100"))  # none ends early
    process = start(tmp_path, phantoms)
    os.kill(children_of(tmp_path)[0], signal.SIGKILL)
    wait_for(lambda: failures(tmp_path), "the death to be stored")
    [death] = failures(tmp_path)
    assert death["reason"] == "child_died"
    assert "SIGKILL" in death["message"]

    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert children_of(tmp_path) == []
    assert "RUNNING" not in {t["state"] for t in trials(tmp_path)}

    process = start(tmp_path, phantoms)
    process.kill()
    process.wait()
    wait_for(lambda: not children_of(tmp_path), "its child to end")
    before = finished(tmp_path)

    last = last_json(pneumo("launch", "small.py", "--data", phantoms, "--json", folder=tmp_path, code=None))
    assert sum(last["trials"].values()) == 3
    assert last["trials"]["failed"] == 0
    after = finished(tmp_path)
    assert [t for t in after if t["number"] in {b["number"] for b in before}] == before
    assert len(after) == 3
    assert {found["reason"] for found in failures(tmp_path)} <= {"child_died", "interrupted", "lost"}
    assert children_of(tmp_path) == []


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real radiographs at {REAL}")
def test_real_radiographs_with_a_bad_file_among_them(tmp_path: Path) -> None:
    source = tmp_path / "xrays"
    for label, n in (("NORMAL", 120), ("PNEUMONIA", 160)):
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
    study = write_study(tmp_path, epochs=6, more=LENIENT)
    launcher = tmp_path / "bin" / "pneumo"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m search.cli "$@"\n')
    launcher.chmod(0o755)
    path = f"{launcher.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "docs" / "end_to_end.sh", phantoms, "work", study, "2"],
        cwd=tmp_path,
        env=environment(PATH=path, MEMBERS="1"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    work = tmp_path / "work"
    assert {"model.keras", "bundle.json", "MODEL_CARD.md", "report.html"} <= {
        f.name for f in (work / "bundle").iterdir()
    }
    for folder in ("report", "bundle"):
        assert "where the model looked" in (work / folder / "report.html").read_text()
    assert json.loads((work / "evaluation.json").read_text())["n"] == 240
    assert len(list((work / "heatmaps").iterdir())) == 20
