"""Stored studies are read in one place, and those of another version or damaged are named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from pneumo_core.errors import StudyError
from search import stored
from tests.commands import ROOT

# Each presents or runs a study whose trials the readers checked before, or is what the readers read through.
MAY_READ = {
    "dashboard/app.py",
    "dashboard/pictures.py",
    "dashboard/review.py",
    "grid.py",  # a sampler
    "stored.py",
    "stored_trials.py",
    "taking.py",  # the trial that it just asked for
    "trials.py",  # by number, to end it
}
READS = {
    "best_trial",
    "best_trials",
    "get_all_studies",
    "get_all_trials",
    "get_trial",
    "get_trials",
    "trials_dataframe",
}
READS |= {f"get_{what}_{kind}_attrs" for what in ("study", "trial") for kind in ("user", "system")}
ATTRIBUTES = {"user_attrs", "system_attrs"}


def _reads(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            of = getattr(node.value, "attr", getattr(node.value, "id", "")).strip("_")
            if node.attr in READS or (node.attr in ATTRIBUTES and of in ("study", "stored")):
                yield f"{file}:{node.lineno}: {of}.{node.attr}"


def test_stored_studies_are_read_in_one_place() -> None:
    search = ROOT / "search"
    others = [
        file
        for file in search.rglob("*.py")
        if file.relative_to(search).parts[0] != "storage" and str(file.relative_to(search)) not in MAY_READ
    ]
    assert [found for file in others for found in _reads(file)] == []


@pytest.mark.parametrize("name", ["source", "budget", "objective", "uid"])
def test_a_study_of_another_version_is_named_as_such(name: str) -> None:
    known = stored.StoredStudy("mine", {"fingerprint": {}})
    with pytest.raises(StudyError, match=f"another version of this program: it has no `{name}`; launch a new one"):
        getattr(known, name)


def test_a_study_of_another_program_is_named_as_such() -> None:
    study = optuna.create_study(study_name="theirs")
    with pytest.raises(StudyError, match="'theirs' was not made by this program: it has no `source`"):
        _ = stored.read(study).source
