"""One lock for all coordinators of a database, across machines where the database is a server."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from pneumo_core.errors import StorageError

WAIT_S = 60.0  # sections under the lock take some 0.1 s
RETRY_S = 0.01
_KEY = 707563  # ours among the advisory locks of a PostgreSQL database


@contextmanager
def locked(url: URL) -> Iterator[None]:
    """Hold the lock of the database at `url`; a dead holder loses it. Raises `StorageError` after `WAIT_S`."""
    if url.get_backend_name() == "sqlite":
        with _file_lock(Path(f"{url.database}.lock").resolve()):
            yield
    else:
        with _server_lock(url):
            yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline_s:
                raise _too_long(str(path)) from error
            time.sleep(RETRY_S)


@contextmanager
def _server_lock(url: URL) -> Iterator[None]:
    """Lock through a connection of its own: whatever happens, the lock ends with it."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            _take_postgresql(connection)
        else:
            _take_mysql(connection, f"pneumo.{url.database}"[:64])
        try:
            yield
        finally:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.invalidate()


def _take_postgresql(connection: sqlalchemy.Connection) -> None:
    connection.execute(sqlalchemy.text(f"SET lock_timeout = '{WAIT_S:g}s'"))
    try:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_KEY})"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available
            raise _too_long(f"advisory lock {_KEY}") from error
        raise


def _take_mysql(connection: sqlalchemy.Connection, name: str) -> None:
    taken = connection.execute(sqlalchemy.text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": WAIT_S})
    if taken.scalar() != 1:  # 0: time is up; NULL: an error
        raise _too_long(f"lock {name!r}")


def _too_long(what: str) -> StorageError:
    return StorageError(f"{what} was held by another coordinator for {WAIT_S:g} s; is one of them stopped or stuck?")
