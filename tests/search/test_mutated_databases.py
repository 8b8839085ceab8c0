"""What is in a database is not believed: every command ends with a message, and touches nothing outside its home."""

import io
import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest

from pneumo_core.errors import PneumoError
from search import trials
from search.dashboard import open
from search.home import Home
from search.storage.database import open_storage
from search.study import load_study
from tests import in_process
from tests.search import mutations

N_MUTATIONS = int(os.environ.get("PNEUMO_TEST_MUTATIONS", "6"))
FIRST_SEED = int(os.environ.get("PNEUMO_TEST_FIRST_SEED", "0"))
N_TRIALS = 5
FINE = {0, 1, 2, 3}
STUDY = """
from studies.spec import BudgetSpec, PrunerSpec, SourceSpec, StudySpec
from tests.search.finalizing.made import space

STUDY = StudySpec(
    name="made-up", space=space, data=SourceSpec(source={source!r}), budget=BudgetSpec(trials={n}),
    pruner=PrunerSpec(kind="none"),
)
"""


@dataclass(frozen=True)
class Place:
    """A home with a study in it, beside things that must stay."""

    folder: Path
    study: Path
    precious: Path

    def home(self, name: str) -> Path:
        """Return a copy of the home with the same images and arrays."""
        home = self.folder / name
        mutations.copy(self.folder / "runs" / "pneumo.db", home / "pneumo.db")
        (home / "cache").symlink_to(self.folder / "runs" / "cache")
        (home / "artifacts").symlink_to(self.folder / "runs" / "artifacts")
        (home / "checkpoints" / "x").mkdir(parents=True)
        return home


@pytest.fixture
def place(
    tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study.py"
    study.write_text(STUDY.format(source=str(phantoms), n=N_TRIALS))
    precious = tmp_path / "outside" / "precious" / "kept"
    precious.parent.mkdir(parents=True)
    precious.write_text("kept")
    with in_process.answering(monkeypatch):
        code, _, said = in_process.run(capsys, "launch", study, "--trials", N_TRIALS)
        assert (code, said) == (0, "")
        stored = load_study("made-up", open_storage(f"sqlite:///{tmp_path}/runs/pneumo.db"))
        failed = stored.ask()
        trials.fail(stored, failed.number, "nan_loss", "the loss is not a number")
        trials.requeue(stored, stored.get_trials()[failed.number])
        yield Place(folder=tmp_path, study=study, precious=precious)


Command = Callable[[Path, Place], tuple[object, ...]]
COMMANDS: dict[str, Command] = {  # `launch` last: it adds trials
    "status": lambda home, _: ("status", "made-up", "--home", home),
    "report": lambda home, place: ("report", place.study, "--home", home, "--out", home / "report"),
    "copy": lambda home, _: ("storage", "copy", f"sqlite:///{home}/pneumo.db", f"sqlite:///{home}/copy.db"),
    "finalize": lambda home, place: ("finalize", place.study, "--home", home, "--out", home / "b"),
    "launch": lambda home, place: ("launch", place.study, "--home", home, "--trials", N_TRIALS + 3),
}


def look(home: Path) -> tuple[int, str]:
    """Ask the dashboard of a home for all that its pages ask for; return the code of the command and what it says."""
    try:
        storage = open_storage(f"sqlite:///{home}/pneumo.db", create=False)
    except PneumoError as error:
        return 2, f"pneumo: {error}"
    try:
        study = load_study("made-up", storage)
        wsgi = open.dashboard(study, Home(home), None)
        base = f"/api/studies/{study._study_id}"
        for path in ("/api/studies", base, f"{base}/param_importances", *(f"/artifacts/{study._study_id}/0/3-1",)):
            answered: list[str] = []
            environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
            setup_testing_defaults(environ)
            environ["HTTP_HOST"] = "127.0.0.1"
            errors = environ["wsgi.errors"] = io.StringIO()  # type: ignore[assignment]
            list(wsgi(environ, lambda status, *_, seen=answered: seen.append(status)))
            if errors.getvalue():
                raise AssertionError(f"{path}: {answered}: {errors.getvalue()}")
    except PneumoError as error:
        return 2, f"pneumo: {error}"
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return 0, ""


def _run(capsys: pytest.CaptureFixture[str], command: tuple[object, ...]) -> tuple[int, str]:
    code, _, said = in_process.run(capsys, *command)
    return code, said


@pytest.mark.timeout(100 * N_MUTATIONS)
@pytest.mark.usefixtures("one_size")
def test_any_change_of_the_database_ends_in_a_message(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    codes: Counter[tuple[str, object]] = Counter()
    wrong: list[str] = []
    for seed in range(FIRST_SEED, FIRST_SEED + N_MUTATIONS):
        home = place.home(f"home-{seed}")
        change = mutations.mutate(home / "pneumo.db", seed)
        for name in (*COMMANDS, "dashboard"):
            try:
                code, said = look(home) if name == "dashboard" else _run(capsys, COMMANDS[name](home, place))
                ended = code in FINE and (code in (0, 3) or said.startswith("pneumo: "))
                what = f"exit {code}: {said}"
            except BaseException:
                code, ended, what = "traceback", False, traceback.format_exc(limit=-4)
            codes[name, code] += 1
            if not ended or place.precious.read_text() != "kept":
                wrong.append(f"seed {seed}, {name}: {change}: {what}")
        shutil.rmtree(home)
    with capsys.disabled():
        print(dict(codes))
    assert not wrong, "\n".join([f"{len(wrong)} wrong", *wrong])
