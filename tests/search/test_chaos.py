"""Everything goes wrong at random, and every trial still finishes exactly once.

`CHAOS_SHARE=0.1 make chaos` runs a tenth of it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.search import chaos, light
from tests.search.chaos import Chaos, Row, Size
from tests.search.executors import rays
from tests.search.full_disk import small_disk
from tests.search.storage import mysql, postgresql

SHARE = float(os.environ.get("CHAOS_SHARE", "1"))
EVERYTHING = chaos.KILLS + chaos.STOPS + chaos.FILES
SMALL = {
    "1 coordinator": Size(n_faults=14, n_trials=20, kinds=EVERYTHING),
    "4 coordinators": Size(n_faults=14, n_trials=24, n_coordinators=4, n_slots=1, kinds=chaos.KILLS + chaos.STOPS),
    "cheap trials first": Size(n_faults=12, n_trials=20, n_coordinators=3, n_slots=1, cheap_first=True),
}
KILLS_OF_ONE = Size(n_faults=200, n_trials=300)
KILLS = Size(n_faults=200, n_trials=300, n_coordinators=4, n_slots=1)
STOPS = Size(n_faults=200, n_trials=300, n_coordinators=3, n_slots=1, kinds=chaos.STOPS)
FILES = Size(n_faults=200, n_trials=300, n_coordinators=2, n_slots=1, kinds=chaos.FILES)
FULL = Size(n_faults=30, n_trials=150, n_coordinators=2, n_slots=1, kinds=chaos.FULL, mean_pause_s=1.0)
CONNECTIONS = Size(n_faults=400, n_trials=400, n_coordinators=3, n_slots=1, kinds=chaos.CONNECTIONS, mean_pause_s=0.1)
ON_RAY = Size(n_faults=150, n_trials=200, n_coordinators=1, n_slots=2, kinds=chaos.STATIONS, epoch_s=0.2)


@pytest.mark.parametrize("size", SMALL.values(), ids=SMALL)
def test_nothing_is_lost_or_run_twice(tmp_path: Path, size: Size) -> None:
    made = Chaos(tmp_path, sqlite(tmp_path), size)
    (light.assert_staged if size.cheap_first else light.assert_whole)(made.run())
    assert made.n_ended == 0
    assert made.orphans() == []
    assert_tidy(tmp_path)


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """What came of each of the large ones, printed in the end."""
    found: list[Row] = []
    yield found
    print(f"\n{chaos.table(found)}")


@pytest.mark.parametrize("size", [KILLS_OF_ONE, KILLS, STOPS, FILES], ids=["kills of one", "kills", "stops", "files"])
@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_sqlite_survives(tmp_path: Path, size: Size, rows: list[Row]) -> None:
    rows.append(Chaos(tmp_path, sqlite(tmp_path), size.scaled(SHARE)).row("SQLite"))
    assert rows[-1].is_clean
    assert rows[-1].n_ended == 0
    assert_tidy(tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_cheap_trials_first_survive(tmp_path: Path) -> None:
    size = Size(n_faults=200, n_trials=300, n_coordinators=3, n_slots=1, cheap_first=True)
    made = Chaos(tmp_path, sqlite(tmp_path), size.scaled(SHARE))
    light.assert_staged(made.run())
    assert made.orphans() == []


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_again_and_again_loses_nothing(tmp_path: Path, rows: list[Row]) -> None:
    """Coordinators end where the database can't be written, and are launched again."""
    with small_disk(tmp_path / "disk", 64 * 2**20) as folder:
        rows.append(Chaos(folder, sqlite(folder), FULL.scaled(SHARE)).row("SQLite"))
        assert rows[-1].is_clean
        assert_tidy(folder)


@pytest.fixture(scope="module", params=[postgresql, mysql], ids=["PostgreSQL", "MariaDB"])
def server(request: pytest.FixtureRequest) -> Iterator[postgresql.Server | mysql.Server]:
    if reason := request.param.missing():
        pytest.skip(reason)
    with request.param.server() as made:
        yield made


@pytest.mark.parametrize("size", [KILLS, CONNECTIONS], ids=["kills", "connections"])
@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_server_survives(
    tmp_path: Path, server: postgresql.Server | mysql.Server, size: Size, rows: list[Row]
) -> None:
    server.fresh()
    name = "PostgreSQL" if isinstance(server, postgresql.Server) else "MariaDB"
    rows.append(Chaos(tmp_path, server.url, size.scaled(SHARE), server=server).row(name))
    assert rows[-1].is_clean
    assert rows[-1].n_ended == 0


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_ray_survives(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")
    made = Chaos(tmp_path, sqlite(tmp_path), ON_RAY.scaled(SHARE))
    with ExitStack() as stack:
        monkeypatch.setenv(light.TAG, made.ray_tag)
        cluster = stack.enter_context(rays.cluster(3))
        monkeypatch.delenv(light.TAG)
        made.ray = cluster.address
        rows.append(made.row("Ray, SQLite"))
    assert rows[-1].is_clean
    assert rows[-1].n_ended == 0


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'light.db'}"


def assert_tidy(folder: Path) -> None:
    assert not list((folder / "checkpoints").rglob("*")), "checkpoints were left"
    with sqlite3.connect(folder / "light.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
