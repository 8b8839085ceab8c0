"""Wrong use through the real command line: one clear message, exit code 2, nothing lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import pneumo_here, write_study


@pytest.fixture
def source(phantoms: Path, tmp_path: Path) -> Path:
    """A private copy of the phantoms, to be damaged."""
    folder = tmp_path / "source"
    shutil.copytree(phantoms, folder)
    return folder


def refused(tmp_path: Path, *arguments: object, code: int = 2, **more: str) -> str:
    done = pneumo_here(*arguments, folder=tmp_path, code=code, **more)
    assert done.stderr.startswith("pneumo: ")
    return done.stderr


def launch(tmp_path: Path, source: object, *more: object) -> str:
    return refused(tmp_path, "launch", write_study(tmp_path), "--data", source, *more)


def test_no_such_folder(tmp_path: Path) -> None:
    assert "nowhere" in launch(tmp_path, "nowhere")


def test_a_folder_without_the_classes(tmp_path: Path) -> None:
    (tmp_path / "data" / "ILL").mkdir(parents=True)
    said = launch(tmp_path, "data")
    assert "NORMAL" in said
    assert "ILL" in said


@pytest.mark.parametrize("label", ["NORMAL", "PNEUMONIA"])
def test_an_empty_class(source: Path, tmp_path: Path, label: str) -> None:
    shutil.rmtree(source / label)
    (source / label).mkdir()
    assert label in launch(tmp_path, source)


def test_only_unreadable_files(source: Path, tmp_path: Path) -> None:
    for file in source.rglob("*.png"):
        file.write_bytes(b"no picture")
    assert "NORMAL" in launch(tmp_path, source)


def test_a_class_too_small_for_every_role(source: Path, tmp_path: Path) -> None:
    for file in sorted((source / "NORMAL").iterdir())[2:]:
        file.unlink()
    said = launch(tmp_path, source)
    assert "NORMAL" in said
    assert "role" in said


def test_bad_images_are_counted_and_the_run_goes_on(source: Path, tmp_path: Path) -> None:
    files = sorted((source / "PNEUMONIA").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:200])
    files[1].write_bytes(b"")
    files[2].write_text("I am a text")
    Image.fromarray(np.zeros((20000, 12000), np.uint8)).save(files[3])
    done = pneumo_here("data", "check", source, folder=tmp_path)
    assert "4 files can't be used" in done.stdout
    for file in files[:4]:
        assert file.name in done.stdout


def test_a_study_without_data(tmp_path: Path) -> None:
    assert "--data" in refused(tmp_path, "launch", "cnn")


def test_an_unknown_study_names_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'quickstart'" in refused(tmp_path, "launch", "quickstat")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("description=3.0, budget=BudgetSpec(trials=-1),", "SyntaxError"),
        ("objective=3,", "`objective` must be a ObjectiveSpec"),
    ],
)
def test_a_mistake_in_a_study_file(tmp_path: Path, more: str, said: str) -> None:
    file = write_study(tmp_path, more=more)
    assert said in refused(tmp_path, "launch", file, "--data", "phantom")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--trials", "0", "at least 1"),
        ("--trials", "-3", "at least 1"),
        ("--workers", "0", "at least 1"),
        ("--timeout", "soon", "2h"),
        ("--timeout", "0s", "longer than nothing"),
        ("--device", "7", "no GPU"),
        ("--backend", "theano", "tensorflow"),
        ("--protocol", "lucky", "patient_grouped"),
        ("--storage", "mongodb://x/y", "sqlite"),
        ("--storage", "sqlite:///:memory:", "in-memory"),
        ("--storage", "nonsense", "database URL"),
    ],
)
def test_an_impossible_option(phantoms: Path, tmp_path: Path, option: str, value: str, said: str) -> None:
    assert said in launch(tmp_path, phantoms, option, value)
    assert not (tmp_path / "runs" / "pneumo.db").exists()


def test_a_limit_of_features_that_is_no_number(phantoms: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    said = refused(tmp_path, "launch", study, "--data", phantoms, PNEUMO_FEATURES_GB="20GB")
    assert "`PNEUMO_FEATURES_GB` must be a number of gigabytes, 0 or more, got '20GB'" in said


def test_a_storage_that_is_no_database(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are my notes, not a database " * 100)
    said = launch(tmp_path, phantoms, "--storage", "sqlite:///notes.db")
    assert "notes.db" in said
    assert (tmp_path / "notes.db").read_text().startswith("these are my notes")


def test_a_home_that_is_a_file(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert "taken" in launch(tmp_path, phantoms, "--home", "taken")


def test_status_of_what_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path, "status", "cnn")


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:s3cret@127.0.0.1:1/none"
    done = pneumo_here("status", "cnn", "--storage", url, folder=tmp_path, code=2)
    assert "s3cret" not in done.stderr + done.stdout
    assert "127.0.0.1" in done.stderr


def test_help_teaches(tmp_path: Path) -> None:
    top = pneumo_here("--help", folder=tmp_path).stdout
    assert "pneumo launch quickstart" in top
    for name in ("launch", "status", "studies", "spaces", "data"):
        assert name in top
        assert "--help" in pneumo_here(name, "--help", folder=tmp_path).stdout


def test_studies_and_spaces_are_listed(tmp_path: Path) -> None:
    listed = pneumo_here("studies", folder=tmp_path).stdout
    assert all(name in listed for name in ("quickstart", "dense", "cnn", "backbones", "original_models"))
    space = pneumo_here("spaces", "cnn", folder=tmp_path).stdout
    assert "learning_rate" in space
    assert "log scale" in space
