"""One way to open a database: safe for several writers, created once, never printed with a password."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pneumo_core.errors import StorageError
from search.storage.locks import locked, waiting_for_lock
from search.storage.patience import ConnectionLost, PatientStorage, patiently, raise_lost

T = TypeVar("T")

NETWORK_FILESYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs"}
MOUNTS = Path("/proc/mounts")
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
BACKENDS = ("sqlite", "postgresql", "mysql")
OPENING_S = 5.0  # a server that restarts is back by then, and a wrong address is reported soon enough
BUSY_S = 60.0  # SQLite's own wait for another writer, whose transactions take milliseconds


def open_storage(url: str, *, create: bool = True) -> PatientStorage:
    """Open the database at `url`, and create it if needed. Raises `StorageError` naming it and the remedy.

    SQLite runs in WAL mode with immediate transactions: without them concurrent processes run enqueued
    trials twice (Optuna reads, then writes).
    """
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it prints a traceback for a connection that broke
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its lines would break the view, which says the same
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _prepare_sqlite(parsed, create)
    try:
        storage = patiently(0.0 if parsed.get_backend_name() == "sqlite" else OPENING_S, lambda: _open(parsed))
    except ConnectionLost as error:
        raise StorageError(f"storage {redacted(url)} can't be opened: {error}") from error
    except ImportError as error:
        extra = parsed.get_backend_name()
        raise StorageError(f"storage {redacted(url)} needs a driver: pip install 'pneumo-search[{extra}]'") from error
    except (SQLAlchemyError, sqlite3.Error, OSError, RuntimeError) as error:
        raise StorageError(f"storage {redacted(url)} can't be opened: {first_line(error)}") from error
    if parsed.get_backend_name() == "sqlite":
        sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
    return storage


def _open(url: URL) -> PatientStorage:
    """Open a database, under the lock where it has to be made: Optuna's making fails where several start at once."""
    with opening(url) as engine, nullcontext() if _is_made(engine) else waiting_for_lock(engine):
        _refuse_foreign(engine)
        return PatientStorage(url.render_as_string(hide_password=False), engine_options(url))


def _is_made(engine: sqlalchemy.Engine) -> bool:
    """Return whether Optuna made its tables here; it notes the version of their schema last."""
    if not sqlalchemy.inspect(engine).has_table("alembic_version"):
        return False
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT count(*) FROM alembic_version")).scalar() == 1


def redacted(url: str) -> str:
    """Return `url` without its secrets, for messages."""
    parsed = _parse(url)
    secret = {name: "***" for name in parsed.query if "pass" in name.lower() or "secret" in name.lower()}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


@contextmanager
def opening(url: URL) -> Iterator[sqlalchemy.Engine]:
    """Yield an engine for what comes before the storage is open, without a connection left afterwards."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    if url.get_backend_name() != "sqlite":
        sqlalchemy.event.listen(engine, "handle_error", raise_lost)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn a failure of the database into a `StorageError` that says what to do."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ConnectionLost, sqlite3.Error) as error:
        raise StorageError(
            f"the database stopped working: {first_line(error)}; finished work is kept: repair it and give the same "
            "command again"
        ) from error


@contextmanager
def exclusive(storage: RDBStorage, *, wait: bool = True) -> Iterator[None]:
    """Hold the one lock that all coordinators of this database share; without `wait`, raise `LockHeld` after a second.

    On a server all is written through the connection that holds the lock, and a call for which that is lost fails at
    once: the lock is then lost too, and the section must begin anew.
    """
    taken = waiting_for_lock(storage.engine) if wait else locked(storage.engine)
    with taken as connection:
        if connection is None or not isinstance(storage, PatientStorage):
            yield
        else:
            with storage.through(connection):
                yield


def exclusively(storage: PatientStorage, work: Callable[[], T], *, wait: bool = True) -> T:
    """Return what `work` does under the lock, begun anew when the connection is lost. Otherwise as `exclusive`."""

    def once() -> T:
        with exclusive(storage, wait=wait):
            return work()

    return patiently(storage.patience_s, once)


def engine_options(url: URL) -> dict[str, Any]:
    """Return SQLAlchemy's engine options for `url`; what its query says, such as TLS, goes to the driver."""
    if url.get_backend_name() == "sqlite":
        return {
            "connect_args": {"timeout": BUSY_S, "isolation_level": None},
            "pool_events": [(_set_pragmas, "connect")],
        }
    return {"pool_pre_ping": True, "pool_size": 4, "max_overflow": 4}


def first_line(error: BaseException) -> str:
    """Return the driver's own words for an error of the database."""
    cause = error.__cause__ if not isinstance(error, SQLAlchemyError) and error.__cause__ else error
    return str(getattr(cause, "orig", None) or cause).strip().split("\n")[0]


def address(text: str) -> str:
    """Return the URL that `text` is, or that `env:NAME` or `file:PATH` holds, so that it is not in a process list.

    Raises `StorageError` where there is none.
    """
    kind, _, place = text.partition(":")
    if kind == "env":
        if not os.environ.get(place):
            raise StorageError(f"storage {text}: there is no environment variable {place!r}")
        return os.environ[place].strip()
    if kind == "file":
        try:
            return Path(place).expanduser().read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise StorageError(f"storage {text}: the file can't be read: {error}") from error
    return text


def _parse(url: str) -> URL:
    try:
        parsed = make_url(address(url))
        parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
        backend = parsed.get_backend_name()
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        raise StorageError(
            "the storage must be a database URL such as sqlite:///runs/pneumo.db, or env:NAME or file:PATH with one"
        ) from error
    if "@" in (parsed.host or ""):  # the rest of a password would be taken for the host, and shown
        raise StorageError("the storage's user or password has an `@`: write it as %40 (and `/` as %2F, `:` as %3A)")
    if backend not in BACKENDS:
        raise StorageError(f"storage must be sqlite, postgresql or mysql, got {backend!r}")
    return parsed


def _prepare_sqlite(url: URL, create: bool) -> None:
    path = _sqlite_path(url)
    if not path.exists() and not create:
        raise StorageError(
            f"storage {redacted(str(url))} does not exist; `pneumo launch` creates it, --storage names another"
        )
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
    if not url.database or url.database.startswith((":memory:", "file:")):
        raise StorageError("an in-memory SQLite database would lose every trial; name a file: sqlite:///runs/pneumo.db")
    if url.query:
        raise StorageError("a SQLite URL takes no options; a `?` in a path is written %3F")
    return Path(url.database)


def _filesystem(folder: Path) -> str:
    """Return the type of the filesystem that holds `folder`, empty where it is unknown."""
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return ""
    here = str(folder.resolve())
    under = [m for m in mounts if here == m[1] or here.startswith(m[1].rstrip("/") + "/")]
    return max(under, key=lambda m: len(m[1]))[2] if under else ""


def _refuse_foreign(engine: sqlalchemy.Engine) -> None:
    """Raise `StorageError` for a database of another program: Optuna would put its tables among theirs."""
    tables = sqlalchemy.inspect(engine).get_table_names()
    if tables and "studies" not in tables:
        shown = ", ".join(sorted(tables)[:3])
        where = redacted(engine.url.render_as_string(hide_password=False))
        raise StorageError(f"storage {where} holds tables of another program ({shown}); name an empty database")


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last trials when the power fails


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
