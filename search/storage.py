"""Databases behind one door: safe for several writers, created once, never printed with a password."""

import fcntl
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pneumo_core.errors import StorageError

HEARTBEAT_S = 15  # how often a coordinator says that its trials are alive
GRACE_S = 120  # silence after which another machine takes a trial for dead: longer than a laptop's short sleep
LOCK_WAIT_S = 60
NETWORK_FILESYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs"}

OnStale = Callable[[optuna.Study, FrozenTrial], None]


def open_storage(url: str, on_stale: OnStale | None = None, *, create: bool = True) -> RDBStorage:
    """Open the database at `url`, creating it if need be. Raises `StorageError` naming it and the remedy.

    SQLite runs in WAL mode with immediate transactions: without them concurrent processes run enqueued
    trials twice (Optuna reads, then writes). `on_stale` is called for trials whose machine fell silent.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _prepare_sqlite(parsed, create)
    try:
        with _creation_lock(parsed), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = RDBStorage(
                parsed.render_as_string(hide_password=False),
                engine_kwargs=_engine_options(parsed),
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=on_stale,
            )
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError, RuntimeError) as error:
        raise StorageError(f"storage {redacted(url)} can't be opened: {_first_line(error)}") from error
    if parsed.get_backend_name() == "sqlite":
        sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
    return storage


def redacted(url: str) -> str:
    """Return `url` with its password masked, for messages."""
    return _parse(url).render_as_string(hide_password=True)


@contextmanager
def exclusive(storage: RDBStorage) -> Iterator[None]:
    """Hold the one lock that all coordinators of this database share, across machines where it can be."""
    parsed = make_url(storage.url)
    if parsed.get_backend_name() == "sqlite":
        with _file_lock(_sqlite_path(parsed)):
            yield
        return
    take, give = _SERVER_LOCKS[parsed.get_backend_name()]
    with storage.engine.connect() as connection:
        connection.execute(sqlalchemy.text(take))
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text(give))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        raise StorageError("the storage must be a database URL such as sqlite:///runs/pneumo.db") from error
    if backend not in {"sqlite", *_SERVER_LOCKS}:
        raise StorageError(f"storage must be sqlite, postgresql or mysql, got {backend!r}")
    return parsed


def _prepare_sqlite(url: URL, create: bool) -> None:
    path = _sqlite_path(url)
    if not path.exists() and not create:
        raise StorageError(f"storage {url} does not exist; `pneumo launch` creates it, --storage names another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"storage folder {path.parent} can't be created: {error.strerror}") from error
    kind = _filesystem(path.parent)
    if kind in NETWORK_FILESYSTEMS:
        raise StorageError(
            f"storage {url} is on a network filesystem ({kind}), where SQLite's locks corrupt; "
            "use a local folder, or PostgreSQL for several machines"
        )


def _sqlite_path(url: URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise StorageError("an in-memory SQLite database would lose every trial; name a file")
    return Path(url.database)


def _filesystem(folder: Path) -> str:
    """Return the type of the filesystem that holds `folder`, empty where the system doesn't tell."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    here = str(folder.resolve())
    under = [m for m in mounts if here == m[1] or here.startswith(m[1].rstrip("/") + "/")]
    return max(under, key=lambda m: len(m[1]))[2] if under else ""


def _engine_options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {
            "connect_args": {"timeout": LOCK_WAIT_S, "isolation_level": None},
            "pool_events": [(_set_pragmas, "connect")],
        }
    return {"pool_pre_ping": True, "pool_size": 4, "max_overflow": 4}


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # in WAL mode a crash of the process loses nothing


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _creation_lock(url: URL) -> Iterator[None]:
    """Let one process create the tables; Optuna's own creation fails when several start at once."""
    if url.get_backend_name() == "sqlite":
        with _file_lock(_sqlite_path(url)):
            yield
        return
    take, give = _SERVER_LOCKS[url.get_backend_name()]
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(take))
            yield
            connection.execute(sqlalchemy.text(give))
    finally:
        engine.dispose()


@contextmanager
def _file_lock(database: Path) -> Iterator[None]:
    descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


# Session-level locks of the servers: released by them when a coordinator dies.
_SERVER_LOCKS = {
    "postgresql": ("SELECT pg_advisory_lock(707563)", "SELECT pg_advisory_unlock(707563)"),
    "mysql": ("SELECT GET_LOCK('pneumo', 60)", "SELECT RELEASE_LOCK('pneumo')"),
}
