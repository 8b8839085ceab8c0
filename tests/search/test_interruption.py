"""Ctrl-C, SIGTERM, kill and a second launch: coordinators in processes of their own."""

import itertools
import multiprocessing
import os
import signal
import sqlite3
import time
from datetime import datetime, timedelta, tzinfo
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages._rdb import storage as rdb
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from search import trials
from search.executors.process import start_time
from search.storage.database import first_line
from search.storage.owner import ATTRIBUTE, Owner, Watch, living, owner_of, this_process
from studies.spec import StudySpec
from tests.search import light
from tests.search.full_disk import fill, small_disk
from tests.search.light import Faulty, Search, study
from tests.search.light_trainer import Fault


def start(folder: Path, spec: StudySpec, *, epoch_s: float = 0.05) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.search.light"])
    url = f"sqlite:///{folder / 'light.db'}"
    begun = context.Process(target=light.coordinate, args=(folder, spec, url, 2, str(folder), epoch_s))
    begun.start()
    return begun


def wait_until_it_trains(folder: Path) -> None:
    light.wait_for(lambda: bool(list((folder / "checkpoints").rglob("*"))))


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (signal.SIGTERM, Fault.NONE),
        (signal.SIGINT, Fault.NONE),
        (signal.SIGINT, Fault.HANG),
        (signal.SIGINT, Fault.HANG_HOLDING_THE_LOCK),
    ],
    ids=lambda given: given.name.lower(),
)
def test_a_signal_ends_the_search_in_time_with_everything_saved(
    tmp_path: Path, number: signal.Signals, fault: Fault
) -> None:
    spec = study(Faulty(fault, epochs=400), n_trials=4)
    begun = start(tmp_path, spec)
    wait_until_it_trains(tmp_path)
    os.kill(begun.pid or 0, number)
    begun.join(500)  # a trainer that hangs does so for ten minutes
    assert begun.exitcode == 130
    light.wait_for(lambda: not light.processes(str(tmp_path)))
    left = Search(tmp_path, spec)
    assert not [trial for trial in left.trials if trial.state == TrialState.RUNNING]
    assert [trial.state for trial in left.current] == [TrialState.WAITING] * 2


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_HOLDING_THE_LOCK], ids=lambda f: f.name.lower())
def test_trainers_die_with_a_killed_coordinator_whatever_they_do(tmp_path: Path, fault: Fault) -> None:
    begun = start(tmp_path, study(Faulty(fault), n_trials=2))
    wait_until_it_trains(tmp_path)
    os.kill(begun.pid or 0, signal.SIGKILL)
    light.wait_for(lambda: not light.processes(str(tmp_path)))
    begun.join()


def test_the_second_signal_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    spec = study(n_trials=6)
    begun = start(tmp_path, spec, epoch_s=0.3)
    wait_until_it_trains(tmp_path)
    os.kill(begun.pid or 0, signal.SIGINT)
    os.kill(begun.pid or 0, signal.SIGINT)
    begun.join(500)
    assert begun.exitcode == 130
    light.wait_for(lambda: not light.processes(str(tmp_path)))
    found = Search(tmp_path, spec)
    assert found.run() == "budget"
    light.assert_whole(found)


def test_a_second_launch_beside_the_first_shares_its_work(tmp_path: Path) -> None:
    spec = study(n_trials=10)
    both = [start(tmp_path, spec), start(tmp_path, spec)]
    for begun in both:
        begun.join(500)
        assert begun.exitcode == 0
    found = Search(tmp_path, spec)
    light.assert_whole(found)
    assert len(found.trials) == 10


def test_a_full_disk_is_reported_and_the_database_stays_whole(tmp_path: Path) -> None:
    """SQLite's own limit stands in for the disk: the same error, from the same place."""
    found = Search(tmp_path, study(n_trials=50))
    with found.storage.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @sqlalchemy.event.listens_for(found.storage.engine, "begin")
    def fill(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(Exception, match=r"commit|full"):
        found.run()
    with sqlite3.connect(tmp_path / "light.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    n_begun = len({trials.root(trial) for trial in found.trials})
    again = Search(tmp_path, study(n_trials=n_begun + 2))
    assert again.run() == "budget"
    light.assert_whole(again)


def test_a_disk_that_fills_up_in_mid_run_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 8 * 2**20) as folder:
        spec = study(n_trials=30, budget={"max_same_failures": 3})
        found = Search(folder, spec, runner=light.fresh_executor(folder))
        filler: list[Path] = []

        def fill_once() -> bool:
            if not filler and sum(event[0] == "finished" for event in found.view.told) >= 4:
                filler.append(fill(folder))
            return False

        found.coordinator.stop_asked = fill_once
        with pytest.raises((StorageInternalError, SQLAlchemyError, OSError)) as caught:
            found.run()
        assert "full" in first_line(caught.value) or "No space left" in first_line(caught.value)
        filler[0].unlink()
        again = Search(folder, spec, runner=light.fresh_executor(folder))
        n_finished = sum(trial.state == TrialState.COMPLETE for trial in again.trials)
        assert n_finished >= 4
        assert again.run() == "budget"
        light.assert_whole(again)
        with sqlite3.connect(folder / "light.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


def test_a_coordinator_elsewhere_is_dead_only_when_its_beats_stand_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    found = Search(tmp_path, study())
    trial = found.study.ask()
    watch = Watch(grace_s=60)

    def is_dead(beats: int) -> bool:
        elsewhere = Owner(place="another machine", pid=1, started="1", beats=beats)
        trials.beat(trial, elsewhere)
        return watch.is_dead(found.trials[0])

    assert watch.is_dead(found.trials[0])  # nobody's
    assert not is_dead(0)
    now_s += 50
    assert not is_dead(1)
    now_s += 50
    assert not is_dead(1)
    now_s += 20
    assert is_dead(1)
    assert not is_dead(2)


def test_a_clock_that_is_set_back_again_and_again_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = itertools.count()

    class Falling(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Falling":
            return cls(2026, 1, 1, tzinfo=tz) - timedelta(hours=next(asked))

    monkeypatch.setattr(rdb, "datetime", Falling)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 - 3600 * next(asked))
    spec = study(Faulty(Fault.KILLED, once=True), n_trials=3, budget={"timeout_s": 300.0})
    found = Search(tmp_path, spec)
    assert found.run() == "budget"
    light.assert_whole(found)
    begun = [trial.datetime_start for trial in found.current if trial.datetime_start]
    assert begun == sorted(begun, reverse=True)
    assert len(begun) == 3


def test_a_process_of_this_machine_is_told_by_its_start_even_when_its_number_is_used_again() -> None:
    me = this_process()
    with living(me):
        assert not me.is_dead_here()
        assert this_process().is_dead_here()
    assert me.is_dead_here()
    assert Owner(place=me.place, pid=me.pid, started="an earlier one").is_dead_here()
    assert Owner(place=me.place, pid=2**22 + 1, started="1").is_dead_here()
    assert not Owner(place="elsewhere", pid=2**22 + 1, started="1").is_dead_here()
    assert start_time(2**22 + 1) == ""


def test_an_owner_that_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    trial = Search(tmp_path, study()).study.ask()
    trial.set_user_attr(ATTRIBUTE, {"place": "another machine", "pid": 1, "started": "1", "beats": 3})
    assert owner_of(trial._cached_frozen_trial) == Owner(place="another machine", pid=1, started="1", beats=3)
