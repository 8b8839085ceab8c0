"""Finalize, evaluate and predict as a user runs them: real trainings on phantoms, and every wrong use."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pneumo_core.bundles import bundle
from pneumo_core.data import reading
from pneumo_core.data.phantom import PhantomSpec, generate
from search.cli.app import main
from tests import in_process
from tests.commands import command, environment, last_json, pneumo_here, wait_for, write_study
from tests.pneumo_core import pictures
from tests.search.finalizing.made import stored

CONTRACT = {"n", "n_positive", "auc", "auc_ci", "accuracy", "threshold", "recall", "recall_ci", "fnr", "fnr_upper"}
FINALIZE = ("finalize", "made-up", "--members", 1, "--workers", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A folder where a finalize was killed in its trainings and then finished, with its bundle in `b`."""
    folder = tmp_path_factory.mktemp("place")
    stored(folder, phantoms, (0.005, 0.01), keep=False)  # trained again for the bundle
    arguments = command(*FINALIZE, "--data", phantoms, "--out", "b")
    with subprocess.Popen(arguments, cwd=folder, env=environment(), stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: list(folder.glob("runs/finalize/made-up/*-final*.json")), "the first network")
        process.kill()
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("runs/finalize/made-up/*.json")}
    assert kept
    assert not (folder / "b").exists()
    done = pneumo_here(*FINALIZE, "--data", phantoms, "--out", "b", "--json", folder=folder)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept  # nothing finished was done again
    assert last_json(done)["n_test_openings"] == 1
    return folder


def test_a_finalized_study_has_a_whole_bundle(place: Path) -> None:
    about = bundle.read(place / "b")
    assert about.environment["backend"] in ("tensorflow", "jax")
    assert about.test["n"] > 0
    assert (place / "b" / "MODEL_CARD.md").is_file()


def test_the_same_again_is_done_at_once_and_another_option_is_refused(place: Path, phantoms: Path) -> None:
    done = pneumo_here(*FINALIZE, "--data", phantoms, "--out", "b", folder=place)
    assert "already" in done.stdout
    refused = pneumo_here(*FINALIZE, "--ceiling", 0.1, "--data", phantoms, "--out", "b", folder=place, code=2)
    assert "never overwritten" in refused.stderr


def test_a_copy_evaluates_to_the_figures_of_the_test_role(place: Path, phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "b", tmp_path / "copy")
    kept = [json.loads(file.read_text())["scores"] for file in place.glob("runs/finalize/made-up/scores-test-*.json")]
    answer = last_json(pneumo_here("evaluate", "copy", phantoms, "--json", folder=tmp_path))
    assert set(answer) >= CONTRACT
    assert answer["n"] == 240
    assert re.match(r"1\d\d of these images trained .* too good", answer["notes"][0])
    # The same images score the same from raw files as from the arrays of the search; the longer are under shifts.
    rows = last_json(pneumo_here("predict", "copy", *_test_files(place, phantoms), "--json", folder=tmp_path))
    assert [row["score"] for row in rows] == pytest.approx(min(kept, key=len), abs=1e-5)


def _test_files(place: Path, phantoms: Path) -> list[Path]:
    [images] = place.glob("runs/cache/arrays/*/images_test.json")
    return [phantoms / path for path in json.loads(images.read_text())["paths"]]


def test_another_hospital_certifies_the_bundle_on_its_own_images_and_sees_drift_without_labels(
    place: Path, phantoms: Path, tmp_path: Path
) -> None:
    theirs = generate(tmp_path, PhantomSpec(n_images=120, image_size_px=32, seed=7))
    wanted = ("--ceiling", 0.1, "--confidence", 0.9, "--home", place / "runs")
    done = pneumo_here("certify", place / "b", theirs, "--out", "anew", *wanted, folder=tmp_path)
    about = bundle.read(tmp_path / "anew")
    assert len(about.certifications) == 2
    assert f"{about.threshold:.6g}" in done.stdout
    assert "random halves of the patients" in done.stdout
    refused = pneumo_here("certify", place / "b", phantoms, "--out", "x", *wanted, folder=tmp_path, code=2)
    assert "taught this bundle's networks" in refused.stderr
    found = last_json(pneumo_here("drift", "anew", theirs, "--json", folder=tmp_path))
    assert found["verdict"] == "alike"
    rows = pneumo_here("predict", "anew", *sorted(theirs.rglob("*.png"))[:40], "--json", folder=tmp_path)
    assert {row["threshold"] for row in last_json(rows)} == {about.threshold}
    assert "those of the certificate" in rows.stderr


def test_predict_has_one_row_a_file_and_goes_on_after_a_bad_one(
    place: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good = next(phantoms.glob("NORMAL/*.png"))
    (tmp_path / "bad.jpeg").write_text("no image")
    words = ("predict", place / "b", good, "bad.jpeg", "--json", "--heatmaps", "maps")
    code, out, said = in_process.run(capfd, *words)  # asks a process with the bundle
    assert code == 0, said
    first, second = json.loads(out.splitlines()[-1])
    assert list(first)[:4] == ["path", "score", "decision", "threshold"]
    assert second == {"path": "bad.jpeg", "error": reading.NOT_AN_IMAGE}
    assert [file.name for file in (tmp_path / "maps").iterdir()] == [f"{good.stem}.png"]
    assert "oneDNN" not in said  # the libraries' own words stay out of sight


WRONG = {
    "not a bundle": (("evaluate", "{here}", "{images}"), "not a bundle"),
    "a file": (("evaluate", "{here}/model.h5", "{images}"), "is a file"),
    "gone": (("predict", "{here}/gone", "a.png"), "does not exist"),
    "one class": (("evaluate", "{bundle}", "{here}/one"), "no class folder `PNEUMONIA`"),
    "unlabelled": (("evaluate", "{bundle}", "{here}/flat"), "without labels"),
    "no study": (("finalize", "no-such-study", "--out", "x"), "has no study"),
    "ceiling": (("finalize", "made-up", "--out", "x", "--data", "{images}", "--ceiling", "2"), "`ceiling` must be"),
    "members": (("finalize", "made-up", "--out", "x", "--data", "{images}", "--members", "0"), "`members` must be"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_one_message_and_code_2(
    place: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    pictures.write(tmp_path / "one" / "NORMAL" / "a.png", 0)
    pictures.write(tmp_path / "flat" / "a.png", 0)
    (tmp_path / "model.h5").write_bytes(b"\x89HDF")
    given = [word.format(here=tmp_path, images=phantoms, bundle=place / "b") for word in arguments]
    at_home = [] if given[0] == "predict" else ["--home", str(place / "runs")]
    monkeypatch.setattr(sys, "argv", ["pneumo", *given, *at_home])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_an_altered_bundle_is_refused(place: Path, phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "b", tmp_path / "b")
    facts = json.loads((tmp_path / "b" / "bundle.json").read_text())
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(facts | {"threshold": 0.0}))
    assert "altered" in pneumo_here("predict", "b", "a.png", folder=tmp_path, code=2).stderr


def test_no_feasible_trial_is_code_3(tmp_path: Path, phantoms: Path) -> None:
    stored(tmp_path, phantoms, (0.01,), constraint=0.1)
    done = pneumo_here("finalize", "made-up", "--data", phantoms, "--out", "b", folder=tmp_path, code=3)
    assert "nothing to finalize" in done.stdout
    assert not (tmp_path / "b").exists()


def test_ctrl_c_is_code_130_and_keeps_what_was_finished(tmp_path: Path, phantoms: Path) -> None:
    stored(tmp_path, phantoms, (0.01,))
    arguments = command(*FINALIZE, "--data", phantoms, "--out", "b")
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(tmp_path.glob("runs/logs/**/child-*.log")), "a trainer")
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not (tmp_path / "b").exists()


def test_the_words_of_a_study_file_find_its_study(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    assert "does not exist" in pneumo_here("finalize", file, "--out", "b", folder=tmp_path, code=2).stderr
