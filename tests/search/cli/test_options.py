"""What a command says to type next."""

from pathlib import Path

import pytest

from search.cli.options import StudyOptions


def test_the_next_command_finds_the_same_study_and_shows_no_password() -> None:
    pytest.importorskip("psycopg")
    asked = StudyOptions(study="mine.py", storage="postgresql://me:hunter2@host/db", name="other", home=Path("my runs"))
    said = asked.command("launch", "--trials", "9", data="images")
    assert said.startswith("pneumo launch mine.py")
    for words in ("--trials 9", "--data images", "--name other", "--home 'my runs'", "--storage 'postgresql"):
        assert words in said
    assert "hunter2" not in said
    assert StudyOptions(study="cnn").command("status") == "pneumo status cnn"
