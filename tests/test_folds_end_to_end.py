"""Searches through the command line whose trials are judged out of folds, or by two objectives."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import STUDY, children_of, command, environment, last_json, pneumo, pneumo_here, wait_for
from tests.test_end_to_end import finished, trials

IMPORTS = "from pneumo_core.specs import ObjectiveSpec\n"  # a lenient ceiling, so that tiny models are feasible
N_FOLDS = 3


def write(folder: Path, *, epochs: int, more: str, changes: dict[str, str]) -> Path:
    text = IMPORTS + STUDY.format(epochs=epochs, seed=0, more=more)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    file = folder / "small.py"
    file.write_text(text)
    return file


def folds_study(folder: Path) -> Path:
    more = f"folds={N_FOLDS}, objective=ObjectiveSpec(fnr_ceiling=0.9),"
    return write(folder, epochs=6, more=more, changes={'kind="median"': 'kind="wilcoxon"', "trials=3": "trials=1"})


def told(folder: Path) -> list[Any]:
    keys = ("spec", "n_folds", "threshold", "auc", "best_epoch", "n_epochs")
    return [(t["state"], t["values"], t["steps"], *(t["attrs"][key] for key in keys)) for t in finished(folder)]


@pytest.mark.slow  # test_cross_validate kills and continues folds in one process
def test_a_study_over_folds_goes_on_after_a_kill_as_if_unbroken(phantoms: Path, tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    launch = ("launch", folds_study(broken), "--data", phantoms, "--json")
    process = subprocess.Popen(
        command(*launch), cwd=broken, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: any((broken / "runs").rglob("*.part")), "an epoch")
    process.kill()
    process.wait()
    wait_for(lambda: not children_of(broken), "its child to end")
    assert "over 3 folds, 18 epochs" in pneumo(*launch, folder=broken).stderr
    assert [t["state"] for t in trials(broken)] == ["FAIL", "COMPLETE"]

    pneumo("launch", folds_study(whole), "--data", phantoms, folder=whole)
    assert told(broken) == told(whole)
    [trial] = finished(whole)
    assert (trial["attrs"]["n_folds"], set(trial["steps"])) == (N_FOLDS, set(range(N_FOLDS)))
    pneumo("report", "small", "--data", phantoms, "--out", "report", folder=whole)
    assert "ROC curve" in (whole / "report" / "report.html").read_text()


def test_more_folds_than_patients_are_refused_before_anything_is_trained(phantoms: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for label in ("NORMAL", "PNEUMONIA"):
        (few / label).mkdir(parents=True)
        for file in sorted((phantoms / label).rglob("*.*"))[:40]:
            (few / label / file.name).write_bytes(file.read_bytes())
    changes = {'kind="median"': 'kind="none"'}
    study = write(tmp_path, epochs=1, more="folds=20,", changes=changes)
    refused = pneumo_here("launch", study, "--data", few, folder=tmp_path, code=2)
    assert "use fewer folds or more images" in refused.stderr


def test_a_study_with_two_objectives_runs_from_launch_to_report(phantoms: Path, tmp_path: Path) -> None:
    more = "objective=ObjectiveSpec(kind='recall_and_specificity', fnr_ceiling=0.9),"
    changes = {"SamplerSpec(n_startup_trials=2)": 'SamplerSpec(kind="nsga2")', "trials=3": "trials=2"}
    study = write(tmp_path, epochs=2, more=more, changes=changes)
    found = last_json(pneumo_here("launch", study, "--data", phantoms, "--json", folder=tmp_path))
    assert found["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
    assert all(len(trial["values"]) == 2 and not trial["steps"] for trial in finished(tmp_path))
    assert last_json(pneumo_here("status", "small", "--json", folder=tmp_path)) == found
    pneumo_here("report", "small", "--data", phantoms, "--out", "report", folder=tmp_path)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "specificity" in page
    assert "ROC curve" in page
