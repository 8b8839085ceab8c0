"""A MariaDB server of the test's own: in a temporary folder, on a Unix socket, as an unprivileged user."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.search import light

USER = "mysql"
DATABASE = "fresh"
OPTIONS = ("--skip-networking", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M")


def missing() -> str | None:
    """Return why there can be no server here, None when there can."""
    if program("mariadbd") is None or program("mariadb-install-db") is None:
        return "MariaDB's server programs are not installed (Debian: apt-get install mariadb-server)"
    try:
        import pymysql  # noqa: F401
    except ImportError:
        return "its driver is not installed (pip install pymysql)"
    if os.getuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f"root can't run MariaDB, and there is no user {USER!r}"
    return None


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@dataclass
class Server:
    """A running server; `stop` and `start` restart it."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def url(self) -> str:
        return f"mysql+pymysql://{USER}@localhost/{DATABASE}?unix_socket={self.socket}"

    @property
    def short_url(self) -> str:
        return self.url.replace("+pymysql", "")

    def start(self) -> None:
        self._process = self._popen("mariadbd", f"--socket={self.socket}", *OPTIONS)
        light.wait_for(self._answers)

    def stop(self, mode: str = "fast") -> None:
        assert self._process is not None
        if mode == "immediate":
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(60)

    def create(self) -> None:
        arguments = "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"
        assert self._popen("mariadb-install-db", *arguments).wait(120) == 0
        self.start()
        self.execute(f"CREATE USER {USER}@localhost", f"GRANT ALL ON {DATABASE}.* TO {USER}@localhost")

    def fresh(self) -> None:
        """Replace the database by an empty one."""
        self.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")

    def execute(self, *statements: str) -> None:
        import pymysql

        with pymysql.connect(unix_socket=str(self.socket), user="root") as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    def end_connection(self, choose: Callable[[Sequence[int]], int]) -> bool:
        """End one of the connections to the database, whatever it is doing; return whether there was one."""
        import pymysql

        with pymysql.connect(unix_socket=str(self.socket), user="root") as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT id FROM information_schema.processlist WHERE db = '{DATABASE}'")
            if pids := [row[0] for row in cursor.fetchall()]:
                with contextlib.suppress(pymysql.err.OperationalError):  # it ended in the meantime
                    cursor.execute(f"KILL {choose(pids)}")
        return bool(pids)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(str(self.socket)) == 0

    def _popen(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        found = program(name)
        assert found is not None
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [found, "--no-defaults", f"--datadir={self.folder / 'data'}", *arguments],
                cwd=self.folder,
                user=USER if os.getuid() == 0 else None,
                stdout=log,
                stderr=log,
            )


@contextmanager
def server() -> Iterator[Server]:
    """Yield a fresh server, gone afterwards. Its folder has a short name: that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="my", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        made = Server(folder)
        made.create()
        try:
            yield made
        finally:
            made.stop("immediate")
