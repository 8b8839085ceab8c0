"""Everything is killed at random, and every trial still finishes exactly once."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search import light
from tests.search.chaos import Chaos, Size

SMALL = {
    "1 coordinator": Size(n_kills=12, n_trials=20),
    "4 coordinators": Size(n_kills=12, n_trials=24, n_coordinators=4, n_slots=1),
    "cheap trials first": Size(n_kills=12, n_trials=20, n_coordinators=3, n_slots=1, cheap_first=True),
}
FULL = {name: replace(size, n_kills=200, n_trials=300) for name, size in SMALL.items()}


@pytest.mark.parametrize("size", SMALL.values(), ids=SMALL)
def test_nothing_is_lost_or_run_twice(tmp_path: Path, size: Size) -> None:
    assert_survives(tmp_path, size)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("size", FULL.values(), ids=FULL)
def test_nothing_is_lost_or_run_twice_in_200_kills(tmp_path: Path, size: Size) -> None:
    assert_survives(tmp_path, size)


def assert_survives(folder: Path, size: Size) -> None:
    chaos = Chaos(folder, f"sqlite:///{folder / 'light.db'}", size)
    found = chaos.run()
    print(f"killed {chaos.n_killed_trainers} trainers and {chaos.n_killed_coordinators} coordinators")
    (light.assert_staged if size.cheap_first else light.assert_whole)(found)
    chaos.assert_no_orphans()
    assert not list((folder / "checkpoints").rglob("*")), "checkpoints were left"
    with sqlite3.connect(folder / "light.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
