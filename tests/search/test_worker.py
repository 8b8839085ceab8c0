"""`pneumo worker` beside `pneumo launch`, and what it refuses; studies that move between databases."""

import hashlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pneumo_core.errors import StudyError
from search import fingerprint
from search.executors import process
from search.storage.database import exclusive, open_storage
from search.study import copy_study, join_study, stored_budget, study_names
from tests.commands import command, environment, pneumo_here, write_study
from tests.search import light
from tests.search.light import Search, study

FINGERPRINT = {"study": {"name": "light"}}


def test_a_worker_joins_with_the_budget_of_the_launch(tmp_path: Path) -> None:
    first = Search(tmp_path, study(n_trials=7, budget={"max_retries": 1}))
    joined = join_study(first.spec, open_storage(first.url, create=False), FINGERPRINT)
    assert stored_budget(joined) == first.spec.budget


def test_a_worker_that_is_started_again_waits_for_the_launch_with_a_larger_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Search(tmp_path, study(n_trials=1))
    assert first.run() == "budget"
    opened = open_storage(first.url, create=False)

    def launch_meanwhile(_: float) -> None:
        Search(tmp_path, study(n_trials=5)).close()

    monkeypatch.setattr(time, "sleep", launch_meanwhile)
    joined = join_study(first.spec, opened, FINGERPRINT, wait_s=60.0)
    assert stored_budget(joined).trials == 5


def test_a_worker_refuses_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Search(tmp_path, study())
    opened = open_storage(first.url, create=False)
    with pytest.raises(StudyError, match=r"study: name: stored light, now other"):
        join_study(first.spec, opened, {"study": {"name": "other"}})
    with pytest.raises(StudyError, match="no study 'elsewhere'"):
        join_study(study(name="elsewhere"), opened, FINGERPRINT)
    monkeypatch.setattr(fingerprint, "of_code", lambda: {"code": {"pneumo_core": "newer"}})
    with pytest.raises(StudyError, match=r"another program(?s:.*)pneumo_core: stored \w+, now newer"):
        join_study(first.spec, opened, FINGERPRINT)


def test_a_newer_program_may_launch_the_study_again_and_workers_must_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Search(tmp_path, study())
    monkeypatch.setattr(fingerprint, "of_code", lambda: {"code": {"pneumo_core": "newer"}})
    again = Search(tmp_path, study())
    assert join_study(again.spec, again.storage, FINGERPRINT).study_name == "light"


def test_a_copied_study_is_whole_and_goes_on(tmp_path: Path) -> None:
    first = Search(tmp_path, study(n_trials=3))
    first.run()
    target = open_storage(f"sqlite:///{tmp_path / 'copy.db'}")
    copied = copy_study("light", first.storage, target)
    told = [(t.number, t.state, t.values, t.params, t.user_attrs, t.constraints) for t in copied.trials]
    assert told == [(t.number, t.state, t.values, t.params, t.user_attrs, t.constraints) for t in first.trials]
    with pytest.raises(StudyError, match="already"):
        copy_study("light", first.storage, target)

    more = Search(tmp_path, study(n_trials=5), f"sqlite:///{tmp_path / 'copy.db'}")
    assert more.run() == "budget"
    light.assert_whole(more)


def test_a_running_study_is_not_copied(tmp_path: Path) -> None:
    first = Search(tmp_path, study())
    first.study.ask()
    with pytest.raises(StudyError, match="is running"):
        copy_study("light", first.storage, open_storage(f"sqlite:///{tmp_path / 'copy.db'}"))


def test_launch_and_worker_share_a_study_through_the_command_line(tmp_path: Path, phantoms: Path) -> None:
    file, url = write_study(tmp_path), f"sqlite:///{tmp_path / 'shared.db'}"
    started = subprocess.Popen(
        command("launch", file, "--data", phantoms, "--storage", url, "--trials", 2, "--device", "cpu"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    place = tmp_path / "worker"
    joined = pneumo_here(
        "worker", file, "--data", phantoms, "--storage", url, "--wait", "5m", "--device", "cpu", "--home", place,
        folder=tmp_path,
    )  # fmt: skip
    assert started.wait(600) in (0, 3)
    assert "Budget reached: 2 trials" in joined.stdout
    stored = open_storage(url, create=False)
    states = [trial.state for trial in stored.get_all_trials(stored.get_all_studies()[0]._study_id)]
    assert len(states) == 2
    assert all(state in (TrialState.COMPLETE, TrialState.PRUNED) for state in states)

    fewer = shutil.copytree(phantoms, tmp_path / "fewer")
    next(fewer.rglob("*.png")).unlink()
    other = pneumo_here("worker", file, "--data", fewer, "--storage", url, folder=tmp_path, code=2)
    assert "data: digest: stored" in other.stderr
    copied = pneumo_here("storage", "copy", url, f"sqlite:///{tmp_path / 'copy.db'}", folder=tmp_path)
    assert "small: 2 trials now in" in copied.stdout


def test_a_copy_needs_no_lock_and_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    first = Search(tmp_path, study(n_trials=3))
    first.run()
    target = open_storage(f"sqlite:///{tmp_path / 'copy.db'}")
    killed = f".copying-{hashlib.sha256(process.place().encode()).hexdigest()[:12]}-{2**22 + 1}-5"
    elsewhere = f".copying-{'0' * 12}-1-5"
    for name in (killed, elsewhere):
        optuna.create_study(study_name=name, storage=target)
    with exclusive(open_storage(target.url)):  # as a search there holds it, for a moment or for an hour
        assert len(copy_study("light", first.storage, target).trials) == 3
    assert {found.study_name for found in target.get_all_studies()} == {"light", elsewhere}
    assert study_names(target) == ["light"]


def test_a_study_that_is_launched_while_it_is_copied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Search(tmp_path, study(n_trials=3))
    target = open_storage(f"sqlite:///{tmp_path / 'copy.db'}")
    here = hashlib.sha256(process.place().encode()).hexdigest()[:12]
    optuna.create_study(study_name=f".copying-{here}-x-5", storage=target)  # of another program
    copy = optuna.copy_study

    def launched_meanwhile(**named: Any) -> None:
        first.study.ask()
        copy(**named)

    monkeypatch.setattr(optuna, "copy_study", launched_meanwhile)
    with pytest.raises(StudyError, match="is running"):
        copy_study("light", first.storage, target)
    assert study_names(target) == []
    first.close()
