"""A PostgreSQL server of the test's own: in a temporary folder, on a Unix socket, as an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

USER = "postgres"
DATABASE = "fresh"


def missing() -> str | None:
    """Return why there can be no server here, None when there can."""
    if binaries() is None:
        return "PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "its driver is not installed (pip install 'psycopg[binary]')"
    if os.getuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f"root can't run PostgreSQL, and there is no user {USER!r}"
    return None


def binaries() -> Path | None:
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else versions[-1].parent if versions else None


@dataclass
class Server:
    """A running server; `stop` and `start` restart it."""

    folder: Path

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@/{DATABASE}?host={self.folder}"

    @property
    def short_url(self) -> str:
        return self.url.replace("+psycopg", "")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        self._run("pg_ctl", "-w", "-D", "data", "-o", options, "-l", "log", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-D", "data", "-m", mode, "stop")

    def create(self) -> None:
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "--no-sync")
        self.start()

    def fresh(self) -> None:
        """Replace the database by an empty one."""
        engine = sqlalchemy.create_engine(self.url.replace(f"/{DATABASE}?", "/postgres?"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {DATABASE}"))
        engine.dispose()

    def end_connection(self, choose: Callable[[Sequence[int]], int]) -> bool:
        """End one of the connections to the database, whatever it is doing; return whether there was one."""
        engine = sqlalchemy.create_engine(self.url.replace(f"/{DATABASE}?", "/postgres?"))
        with engine.connect() as connection:
            query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{DATABASE}'"
            if pids := connection.scalars(sqlalchemy.text(query)).all():
                connection.execute(sqlalchemy.text(f"SELECT pg_terminate_backend({choose(pids)})"))
        engine.dispose()
        return bool(pids)

    def _run(self, program: str, *arguments: str) -> None:
        folder = binaries()
        assert folder is not None
        subprocess.run(
            [str(folder / program), *arguments],
            cwd=self.folder,
            user=USER if os.getuid() == 0 else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=True,
        )


@contextmanager
def server() -> Iterator[Server]:
    """Yield a fresh server, gone afterwards. Its folder has a short name: that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        made = Server(folder)
        made.create()
        try:
            yield made
        finally:
            made.stop("immediate")
