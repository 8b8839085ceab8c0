"""One lock for all coordinators of a database, across machines where the database is a server.

A process that waits for it prints a message and keeps waiting: the holder may be stopped in a debugger, or on a
suspended machine.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from pneumo_core.errors import StorageError
from search import printing

TRY_S = 1.0  # sections under the lock take some 0.1 s
RETRY_S = 0.01
MESSAGE_AFTER_S = 10.0
_KEY = 707563  # ours among the advisory locks of a PostgreSQL database


class LockHeld(StorageError):
    """Another coordinator held the lock for all of the time that was given."""


@contextmanager
def locked(engine: Engine, try_s: float = TRY_S) -> Iterator[sqlalchemy.Connection | None]:
    """Hold the lock of a database; a dead holder loses it. Raises `LockHeld` after `try_s`.

    Yields the connection that holds it, and with which it ends; None for SQLite, where a file is locked.
    """
    if engine.dialect.name == "sqlite":
        with _file_lock(Path(f"{engine.url.database}.lock").resolve(), try_s):
            yield None
    else:
        with _server_lock(engine, try_s) as connection:
            yield connection


@contextmanager
def waiting_for_lock(engine: Engine) -> Iterator[sqlalchemy.Connection | None]:
    """Hold the lock as `locked` does, however long that takes, and say meanwhile what is waited for."""
    wait = Wait()
    with contextlib.ExitStack() as stack:
        while True:
            try:
                connection = stack.enter_context(locked(engine))
                break
            except LockHeld as error:
                wait.held(error)
        yield connection


class Wait:
    """Says once in a while on standard error that the lock is waited for."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._said_s = 0.0

    def held(self, error: LockHeld) -> None:
        """Note that the lock was held yet again."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s, self._said_s = now_s - TRY_S, now_s - TRY_S
        if now_s - self._said_s >= MESSAGE_AFTER_S:
            self._said_s = now_s
            waited_s = now_s - self._since_s
            printing.note(f"{error}, for {waited_s:.0f} s so far. Waiting; Ctrl-C gives up")

    def ended(self) -> None:
        self._since_s = None


@contextmanager
def _file_lock(path: Path, try_s: float) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(descriptor, path, try_s)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, try_s: float) -> None:
    deadline_s = time.monotonic() + try_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() > deadline_s:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                raise _held(str(path), f"process {holder}" if holder.isdigit() else "") from error
            time.sleep(RETRY_S)
    with contextlib.suppress(OSError):  # on a full disk the lock counts, not who holds it
        os.pwrite(descriptor, f"{os.getpid():<19}\n".encode(), 0)


@contextmanager
def _server_lock(engine: Engine, try_s: float) -> Iterator[sqlalchemy.Connection]:
    """Lock through a connection that ends with the lock, whatever happens."""
    with engine.connect() as connection:
        try:
            if engine.dialect.name == "postgresql":
                _take_postgresql(connection, try_s)
            else:
                _take_mysql(connection, f"pneumo.{engine.url.database}"[:64], try_s)
            yield connection
        finally:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError, StorageError):
                connection.invalidate()


def _take_postgresql(connection: sqlalchemy.Connection, try_s: float) -> None:
    connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{try_s:g}s'"))
    try:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_KEY})"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available
            raise _held(f"advisory lock {_KEY}", "") from error
        raise
    connection.commit()  # the lock is the connection's, not the transaction's


def _take_mysql(connection: sqlalchemy.Connection, name: str, try_s: float) -> None:
    taken = connection.execute(sqlalchemy.text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": try_s})
    if taken.scalar() != 1:  # 0: time is up; NULL: an error
        raise _held(f"lock {name!r}", "")
    connection.commit()


def _held(what: str, holder: str) -> LockHeld:
    return LockHeld(f"{what} is held by another coordinator{f' ({holder})' if holder else ''}")
