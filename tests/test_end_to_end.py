"""Whole searches through the command line, with real Keras models on phantoms and on real radiographs."""

import json
import os
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
    wait_for,
    write_study,
)

REAL = Path(os.environ.get("PNEUMO_TEST_DATA", ROOT.parent / "shared" / "data")) / "chest_xray" / "train"


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


def test_launch_resume_extend_and_review(phantoms: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    launch = ("launch", study, "--data", phantoms, "--json")
    first = last_json(pneumo(*launch, folder=tmp_path, code=None))
    assert set(first) == {"study", "storage", "trials", "open", "failures", "best"}
    assert first["trials"]["complete"] + first["trials"]["pruned"] == 3
    assert first["trials"]["failed"] == 0

    again = pneumo(*launch, folder=tmp_path, code=None)
    assert last_json(again) == first
    assert "Budget reached" in again.stderr

    more = last_json(pneumo(*launch, "--trials", 4, folder=tmp_path, code=None))
    assert sum(more["trials"].values()) == 4
    assert last_json(pneumo("status", "small", "--json", folder=tmp_path, code=None)) == more
    assert children_of(tmp_path) == []

    for trial in finished(tmp_path):
        contract = {"recall", "specificity", "fnr", "auc", "pauc", "threshold", "seconds", "best_epoch", "n_parameters"}
        assert contract <= set(trial["attrs"])
        assert all(isinstance(trial["attrs"][name], int | float) for name in contract)
        assert trial["attrs"]["spec"]["model"]["kind"] == "cnn"

    _check_the_model_of_one_trial(tmp_path, phantoms, finished(tmp_path)[0])

    changed = write_study(tmp_path, epochs=3)
    refused = pneumo("launch", changed, "--data", phantoms, folder=tmp_path, code=2)
    assert "differs from the stored one" in refused.stderr
    assert len(finished(tmp_path)) == 4


def _check_the_model_of_one_trial(folder: Path, phantoms: Path, trial: dict[str, Any]) -> None:
    """A trial is trained again to the same figures, and its bundle says that it is not certified."""
    done = pneumo(
        "train-trial", "small.py", trial["number"], "--data", phantoms, "--out", "one", "--json", folder=folder
    )
    found = last_json(done)
    assert found["guarantee"] == "none"
    assert found["validation"] == {name: trial["attrs"][name] for name in found["validation"]}
    assert "These are the figures of the search" in done.stderr
    card = (folder / "one" / "MODEL_CARD.md").read_text()
    assert card.startswith("---\nlibrary_name:")
    assert "**Not certified**" in card
    file = next(phantoms.glob("NORMAL/*.png"))
    [row] = last_json(pneumo("predict", "one", file, "--json", folder=folder))
    assert row["threshold"] == trial["attrs"]["threshold"]


def test_the_plain_optuna_command_line_reads_the_database(phantoms: Path, tmp_path: Path) -> None:
    more = "objective=__import__('pneumo_core.specs', fromlist=['x']).ObjectiveSpec(fnr_ceiling=0.95),"
    study = write_study(tmp_path, more=more)
    best = last_json(pneumo("launch", study, "--data", phantoms, "--json", folder=tmp_path))["best"]

    def optuna(*arguments: str) -> Any:
        call = [sys.executable, "-c", "from optuna.cli import main; main()", *arguments, "-f", "json"]
        done = subprocess.run(
            [*call, "--storage", "sqlite:///runs/pneumo.db"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    assert [row["name"] for row in optuna("studies")] == ["small"]
    assert len(optuna("trials", "--study-name", "small")) == 3
    found = optuna("best-trial", "--study-name", "small")
    assert found["number"] == best["number"]
    assert found["params"] == best["params"]


def test_the_same_seed_gives_the_same_trials_and_values(phantoms: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        folder = tmp_path / name
        folder.mkdir()
        pneumo("launch", write_study(folder, seed=seed), "--data", phantoms, folder=folder, code=None)
        runs.append([(t["state"], t["values"], t["steps"], t["attrs"]["spec"]) for t in trials(folder)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def start(folder: Path, phantoms: Path) -> "subprocess.Popen[bytes]":
    study = write_study(folder, epochs=40)
    process = subprocess.Popen(
        command("launch", study, "--data", phantoms),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: (folder / "runs" / "pneumo.db").exists() and any(t["steps"] for t in _peek(folder)), "an epoch")
    return process


def _peek(folder: Path) -> list[dict[str, Any]]:
    try:
        return trials(folder)
    except sqlite3.Error:
        return []


def finish(folder: Path, phantoms: Path) -> dict[str, Any]:
    found = last_json(pneumo("launch", folder / "small.py", "--data", phantoms, "--json", folder=folder, code=None))
    assert isinstance(found, dict)
    return found


def test_a_killed_coordinator_loses_nothing(phantoms: Path, tmp_path: Path) -> None:
    process = start(tmp_path, phantoms)
    child = children_of(tmp_path)
    assert child
    process.kill()
    process.wait()
    wait_for(lambda: not children_of(tmp_path), "its child to end")
    before = finished(tmp_path)
    counts = finish(tmp_path, phantoms)["trials"]
    assert sum(counts.values()) == 3
    assert counts["failed"] == 0
    after = finished(tmp_path)
    assert [t for t in after if t["number"] in {b["number"] for b in before}] == before
    assert len(after) == 3
    continued = [t for t in trials(tmp_path) if t["state"] == "FAIL"]
    assert [t["attrs"]["failure"]["reason"] for t in continued] == ["lost"]


def test_a_killed_child_is_replaced_and_its_trial_goes_on(phantoms: Path, tmp_path: Path) -> None:
    process = start(tmp_path, phantoms)
    os.kill(children_of(tmp_path)[0], signal.SIGKILL)
    assert process.wait(timeout=300) in (0, 3)
    assert len(finished(tmp_path)) == 3
    (dead,) = [t for t in trials(tmp_path) if t["state"] == "FAIL"]
    assert dead["attrs"]["failure"]["reason"] == "child_died"
    assert "SIGKILL" in dead["attrs"]["failure"]["message"]
    assert children_of(tmp_path) == []


def test_ctrl_c_saves_and_leaves_with_130(phantoms: Path, tmp_path: Path) -> None:
    process = start(tmp_path, phantoms)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert children_of(tmp_path) == []
    assert "RUNNING" not in {t["state"] for t in trials(tmp_path)}
    assert sum(finish(tmp_path, phantoms)["trials"].values()) == 3
    assert len(finished(tmp_path)) == 3


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
    done = pneumo("launch", study, "--data", source, "--trials", 1, folder=tmp_path, code=None)
    assert "1 complete" in done.stdout
    assert "broken.jpeg" in done.stdout
    checked = pneumo("data", "check", source, folder=tmp_path)
    assert "broken.jpeg" in checked.stdout


def test_the_script_in_the_docs_runs_from_folder_to_bundle(phantoms: Path, tmp_path: Path) -> None:
    """A lenient ceiling, so that the few tiny models that a test can afford are feasible."""
    more = "objective=__import__('pneumo_core.specs', fromlist=['x']).ObjectiveSpec(fnr_ceiling=0.9),"
    study = write_study(tmp_path, epochs=6, more=more)
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
