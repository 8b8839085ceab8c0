"""The same promises on real PostgreSQL and MySQL (MariaDB) servers, and across a restart of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from optuna.study import StudyDirection

from pneumo_core.errors import StorageError
from search import trials
from search.storage.database import exclusive, open_storage
from search.storage.locks import LockHeld
from search.storage.patience import ConnectionLost, PatientStorage
from search.study import open_study, stored_budget
from tests.search import light
from tests.search.chaos import Chaos, Size
from tests.search.light import Faulty, Search, study
from tests.search.light_trainer import Fault
from tests.search.storage import mysql, postgresql, reading

Server = mysql.Server | postgresql.Server


@pytest.fixture(autouse=True)
def closed_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open: psycopg complains of connections that the collector has to close."""
    opened: list[PatientStorage] = []
    made = PatientStorage.__init__

    def make(storage: PatientStorage, *args: Any, **kwargs: Any) -> None:
        made(storage, *args, **kwargs)
        opened.append(storage)

    monkeypatch.setattr(PatientStorage, "__init__", make)
    yield
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture(scope="module", params=[mysql, postgresql], ids=["mysql", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if reason := request.param.missing():
        pytest.skip(reason)
    with request.param.server() as made:
        yield made


@pytest.fixture
def url(server: Server) -> str:
    """The URL of a fresh database."""
    server.fresh()
    return server.url


def test_a_study_runs_and_resumes(tmp_path: Path, url: str) -> None:
    for n_trials in (3, 5):
        found = Search(tmp_path, study(n_trials=n_trials), url)
        assert found.run() == "budget"
        light.assert_whole(found)


def test_the_short_url_finds_the_installed_driver(url: str, server: Server) -> None:
    assert f"+{open_storage(server.short_url).engine.driver}:" in url


def test_the_lock_excludes_others_and_ends_with_its_holder(url: str) -> None:
    first, second = open_storage(url), open_storage(url)
    with exclusive(first), pytest.raises(LockHeld, match="another coordinator"), exclusive(second, wait=False):
        pass
    with exclusive(second):
        pass


def test_the_tables_of_another_program_are_left_alone(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE customers (id int)"))
    with pytest.raises(StorageError, match="customers"):
        open_storage(url)
    engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_password_is_never_shown(kind: str) -> None:
    pytest.importorskip({"postgresql": "psycopg", "mysql": "pymysql"}[kind])
    secret = {"postgresql": "sslpassword", "mysql": "ssl_key_password"}[kind]
    with pytest.raises(StorageError) as caught:
        open_storage(f"{kind}://someone:hunter2@127.0.0.1:1/none?{secret}=hunter3")
    assert "hunter" not in str(caught.value)


def test_all_trials_are_read_as_optuna_reads_them(url: str) -> None:
    opened = open_storage(url)
    reading.assert_read_alike(opened)


def test_attributes_are_written_at_once(url: str) -> None:
    reading.assert_attributes_are_written_at_once(open_storage(url))


def test_trials_are_read_at_one_moment_whatever_other_programs_write(url: str) -> None:
    reading.assert_trials_are_read_at_one_moment(open_storage(url), open_storage(url))


def test_a_study_that_another_program_deletes_is_read_whole_or_not_at_all(url: str) -> None:
    reading.assert_a_study_is_read_whole_or_not_at_all(open_storage(url), open_storage(url))


def test_a_restart_in_mid_run_is_survived(tmp_path: Path, url: str, server: Server) -> None:
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=6), url)
    restarted: list[int] = []

    def restart_once() -> bool:
        if any(event[0] == "finished" for event in found.view.told) and not restarted:
            restarted.append(1)
            server.stop("immediate")
            server.start()
        return False

    found.coordinator.stop_asked = restart_once
    assert found.run() == "budget"
    assert restarted
    light.assert_whole(found)
    assert all(trials.failure_reason(trial) in (None, trials.LOST) for trial in found.trials)


def test_a_connection_that_ends_in_mid_query_is_replaced(url: str, server: Server) -> None:
    """Optuna's reading of changed trials answers an error with a second query, in the transaction that is broken."""
    opened = open_storage(url)
    study_id = opened.create_new_study([StudyDirection.MAXIMIZE])
    numbers = [opened.create_new_trial(study_id) for _ in range(2)]
    ended: list[bool] = []

    @sqlalchemy.event.listens_for(opened.engine, "before_cursor_execute")
    def end(connection: sqlalchemy.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM trials" in statement and not ended:
            ended.append(server.end_connection(max))

    found = opened._get_trials(study_id, None, {numbers[0]}, numbers[0])
    assert ended
    assert [trial._trial_id for trial in found] == numbers


def test_a_study_is_opened_once_whole_however_often_the_connection_ends(
    tmp_path: Path, url: str, server: Server
) -> None:
    spec = study(n_trials=4, enqueue=({"x": 0.5}, {"x": 0.25}))
    opened = open_storage(url)
    n_statements = 0

    @sqlalchemy.event.listens_for(opened.engine, "before_cursor_execute")
    def end(*_: Any) -> None:
        nonlocal n_statements
        n_statements += 1
        if n_statements in (5, 30, 70):
            server.end_connection(max)

    found = open_study(spec, opened, {"study": {"name": spec.name}})
    assert n_statements > 70
    assert [trial.system_attrs["fixed_params"]["x"] for trial in found.trials] == [0.5, 0.25]
    assert stored_budget(found) == spec.budget


def test_whoever_lost_the_lock_writes_nothing_more(url: str, server: Server) -> None:
    opened, other = open_storage(url), open_storage(url)
    study_id = other.create_new_study([StudyDirection.MAXIMIZE])

    def lose_and_write() -> None:
        with exclusive(opened):
            other.engine.dispose()
            while server.end_connection(max):
                pass
            for _ in range(2):  # Optuna and a study's own code may swallow the first error
                with pytest.raises(ConnectionLost):
                    opened.create_new_trial(study_id)

    lose_and_write()
    assert other.get_all_trials(study_id) == []
    with exclusive(opened, wait=False):
        opened.create_new_trial(study_id)
    assert len(other.get_all_trials(study_id)) == 1


@pytest.mark.slow
def test_four_coordinators_and_random_kills(tmp_path: Path, url: str) -> None:
    assert_survives(tmp_path, url, Size(n_faults=12, n_trials=24, n_coordinators=4, n_slots=1))


@pytest.mark.slow
def test_three_coordinators_outlast_connections_and_restarts(tmp_path: Path, url: str, server: Server) -> None:
    kinds = ("connection ended",) * 5 + ("server restarted",)
    size = Size(n_faults=25, n_trials=40, n_coordinators=3, n_slots=1, kinds=kinds, mean_pause_s=0.1)
    assert_survives(tmp_path, url, size, server)


def assert_survives(folder: Path, url: str, size: Size, server: Server | None = None) -> None:
    chaos = Chaos(folder, url, size, server=server)
    light.assert_whole(chaos.run())
    assert chaos.n_ended == 0
    assert chaos.orphans() == []
