"""What a command prints as the next one is that command's own words, and names the same study."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from search.cli import app
from search.cli.again import next_command
from tests import in_process

STUDY = """
from studies.spec import BudgetSpec, PrunerSpec, StudySpec
from tests.search.finalizing import made

STUDY = StudySpec(name="mine", space=made.space, budget=BudgetSpec(trials=2), pruner=PrunerSpec(kind="none"))
"""
OPTIONS = (
    *("--data", "images", "--name", "an other", "--home", "one home", "--storage", "env:PNEUMO_TEST_STORAGE"),
    *("--labels", "labels.csv", "--image-column", "file", "--label-column", "finding"),
    *("--negative", "NORMAL", "--positive", "PNEUMONIA", "--follow-links", "--device", "cpu", "--workers", "1"),
    *("--protocol", "per_image_random"),
)
SPENT = ("--trials", "2", "--quiet", "--timeout", "1h")  # said of the first launch alone
FINALIZED = [["predict", "a bundle", "FILE..."], ["evaluate", "--home", "one home", "a bundle", "DIR"]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, phantoms: Path
) -> Callable[..., tuple[int, str, str]]:
    """A command run in a folder with a study, its images and their labels in a table."""
    (tmp_path / "my study.py").write_text(STUDY)
    (tmp_path / "images").symlink_to(phantoms)
    files = sorted(phantoms.rglob("*.png"))
    lines = [f"{file.relative_to(phantoms)},{file.parent.name}" for file in files]
    (tmp_path / "labels.csv").write_text("\n".join(["file,finding", *lines]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PNEUMO_TEST_STORAGE", "sqlite:///one home/of.db")
    monkeypatch.setenv("COLUMNS", "1000")
    return lambda *words: in_process.run(capsys, *words)


def commands_of(text: str) -> list[list[str]]:
    """Return the words of every command that is printed in backticks, without `pneumo`."""
    return [shlex.split(found)[1:] for found in re.findall(r"`(pneumo [^`]+)`", text)]


def test_obeying_what_is_printed_finds_the_same_study(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_process.answering(monkeypatch):
        status, more = commands_of(run("launch", "my study.py", *OPTIONS, *SPENT)[1])
        assert set(more) == {"launch", "my study.py", *OPTIONS, "--trials", "4"}
        assert "Study an other in sqlite:///one home/of.db" in run(*status)[1]
        assert "\n4 complete" in run(*more)[1]
        _, larger = commands_of(run("worker", *more[1:-2])[1])
        assert set(larger) == set(more) - {"4"} | {"8"}
        code, out, _ = run("finalize", *status[1:], "--out", "a bundle")
        assert (code, commands_of(out)) == (0, FINALIZED)


def in_context(*words: str) -> Any:
    group: Any = typer.main.get_command(app.app)
    parent = group.make_context("pneumo", [*words])
    return group.get_command(parent, words[0]).make_context(words[0], list(words[1:]), parent=parent)


def test_passwords_stay_out_and_names_are_quoted() -> None:
    launch = in_context("launch", "cnn", "--storage", "postgresql://me:secret@host/db")
    assert "secret" not in next_command(launch, "status")
    assert next_command(launch, "status").startswith("pneumo status cnn --storage 'postgresql")
    one_trial = in_context("train-trial", "cnn", "3", "--out", "a b")
    assert next_command(one_trial, "predict", "a b", "FILE...") == "pneumo predict 'a b' FILE..."


def test_no_command_writes_the_next_one_by_hand() -> None:
    files = Path(app.__file__).parent.glob("*.py")
    assert [file.name for file in files if "Next: `pneumo" in file.read_text()] == []
