"""SQLite behind the one door: what is refused and with which words, and who may write when."""

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from pneumo_core.errors import StorageError
from search.storage import database as storage
from search.storage import locks
from search.storage.database import engine_options, exclusive, open_storage, redacted
from search.storage.locks import LockHeld
from tests.search.light import ROOT
from tests.search.storage import reading


def sqlite_url(folder: Path, name: str = "a.db") -> str:
    return f"sqlite:///{folder / name}"


def test_sqlite_keeps_what_is_committed_and_admits_readers_while_writing(tmp_path: Path) -> None:
    with open_storage(sqlite_url(tmp_path)).engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="lose every trial"):
        open_storage(url)


@pytest.mark.parametrize("url", ["runs/pneumo.db", "", "oracle://host/x", "redis://host"])
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="storage must be"):
        open_storage(url)


def test_a_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nhost:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(storage, "MOUNTS", mounts)
    with pytest.raises(StorageError, match=r"network filesystem \(nfs4\).*PostgreSQL"):
        open_storage(sqlite_url(tmp_path))


def test_a_missing_database_is_not_made_by_a_command_that_reads(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_storage(sqlite_url(tmp_path), create=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    file.write_bytes(b"precious text, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        open_storage(sqlite_url(tmp_path))
    assert file.read_bytes() == b"precious text, " * 100


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    with pytest.raises(StorageError, match=r"another program.*customers"):
        open_storage(sqlite_url(tmp_path))
    with sqlite3.connect(tmp_path / "a.db") as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


def test_a_newer_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    open_storage(sqlite_url(tmp_path)).engine.dispose()
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
        database.execute("UPDATE version_info SET library_version = '99.0.0'")
    with pytest.raises(StorageError, match=r"no longer compatible.*pip install -U optuna"):
        open_storage(sqlite_url(tmp_path))


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(StorageError, match="can't be created"):
        open_storage(sqlite_url(tmp_path / "f" / "deeper"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        open_storage(sqlite_url(tmp_path))


def test_a_lock_that_is_waited_for_names_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "MESSAGE_AFTER_S", 0.0)
    opened = open_storage(sqlite_url(tmp_path))
    holder = ExitStack()
    holder.enter_context(exclusive(opened))
    with pytest.raises(LockHeld, match=r"a\.db\.lock is held"), exclusive(opened, wait=False):
        pass

    def wait_for_it() -> None:
        with exclusive(opened):
            pass

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_it)
        said = ""
        while "Waiting" not in said:
            said += capsys.readouterr().err
        assert not waiting.done()
        holder.close()
        waiting.result()
    assert f"is held by another coordinator (process {os.getpid()})" in said


def test_a_database_that_is_there_is_opened_without_the_lock(tmp_path: Path) -> None:
    with exclusive(open_storage(sqlite_url(tmp_path))):
        assert open_storage(sqlite_url(tmp_path), create=False).get_all_studies() == []


def test_the_lock_is_one_however_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    first = open_storage("sqlite:///a.db")
    for name in (sqlite_url(tmp_path), sqlite_url(tmp_path / "link")):
        other = open_storage(name)
        with exclusive(first), pytest.raises(LockHeld), exclusive(other, wait=False):
            pass


def test_a_dead_holder_loses_the_lock(tmp_path: Path) -> None:
    opened = open_storage(sqlite_url(tmp_path))
    program = (
        "import os, sys\nfrom search.storage.database import *\n"
        f"with exclusive(open_storage({sqlite_url(tmp_path)!r})):\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == -9
    with exclusive(opened):
        pass


def test_many_processes_may_create_one_database(tmp_path: Path) -> None:
    program = f"from search.storage.database import open_storage; open_storage({sqlite_url(tmp_path)!r})"
    started = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_only_one_section_runs_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        opened = open_storage(sqlite_url(tmp_path))
        for _ in range(20):
            with exclusive(opened):
                inside += 1
                most = max(most, inside)
                inside -= 1
        opened.engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_secrets_are_masked_wherever_a_url_hides_them() -> None:
    shown = redacted("postgresql://me:hunter2@host/db?sslmode=require&sslpassword=hunter3")
    assert "hunter" not in shown
    assert "sslmode=require" in shown


@pytest.mark.parametrize("url", ["postgresql://me:hun@ter2@host/db", "mysql://me:a@b@c@host/db"])
def test_an_unescaped_at_sign_is_refused_without_showing_what_follows(url: str) -> None:
    with pytest.raises(StorageError, match="%40") as raised:
        open_storage(url)
    assert not {"hun", "ter2", "a@b", "c@host"} & {*str(raised.value).replace("/", " ").split()}
    assert "***" in redacted("postgresql://me:hun%40ter2@host/db")
    assert "ter2" not in redacted("postgresql://me:hun%40ter2@host/db")


def test_a_url_may_stand_in_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    monkeypatch.setenv("MY_DATABASE", url)
    (tmp_path / "url").write_text(f"{url}\n")
    for named in ("env:MY_DATABASE", f"file:{tmp_path}/url"):
        open_storage(named).engine.dispose()
        assert redacted(named) == url
    with pytest.raises(StorageError, match="no environment variable 'MISSING'"):
        open_storage("env:MISSING")
    with pytest.raises(StorageError, match="can't be read"):
        open_storage(f"file:{tmp_path}/nowhere")


def test_options_of_servers_pass_through_to_their_drivers() -> None:
    pytest.importorskip("pymysql")
    url = storage._parse("mysql://me:secret@host/db?ssl_ca=/ca.pem&charset=utf8mb4")
    engine = sqlalchemy.create_engine(url, **engine_options(url))
    _, arguments = engine.dialect.create_connect_args(url)
    assert engine.driver == "pymysql"
    assert arguments["ssl"] == {"ca": "/ca.pem"}
    assert engine.pool._pre_ping  # type: ignore[attr-defined]


def test_all_trials_are_read_as_optuna_reads_them(tmp_path: Path) -> None:
    reading.assert_read_alike(open_storage(sqlite_url(tmp_path)))


def test_attributes_are_written_at_once(tmp_path: Path) -> None:
    reading.assert_attributes_are_written_at_once(open_storage(sqlite_url(tmp_path)))


def test_optuna_reads_what_is_stored_without_us(tmp_path: Path) -> None:
    open_storage(sqlite_url(tmp_path)).engine.dispose()
    assert RDBStorage(make_url(sqlite_url(tmp_path)).render_as_string()).get_all_studies() == []
