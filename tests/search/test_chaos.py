"""Everything goes wrong at random, and every trial still finishes exactly once; `tests.chaos` does more of it.

Among the slow tests: what random faults find depends on the machine and its load, so it must not stop another change.
What they found is tested step by step beside the parts that it was about.
"""

import sqlite3
from pathlib import Path

import pytest

from tests.search import chaos, light
from tests.search.chaos import Chaos, Size

EVERYTHING = chaos.KILLS + chaos.STOPS + chaos.FILES
SMALL = {
    "1 coordinator": Size(n_faults=14, n_trials=20, kinds=EVERYTHING),
    "4 coordinators": Size(n_faults=14, n_trials=24, n_coordinators=4, n_slots=1, kinds=chaos.KILLS + chaos.STOPS),
    "cheap trials first": Size(n_faults=12, n_trials=20, n_coordinators=3, n_slots=1, cheap_first=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("size", SMALL.values(), ids=SMALL)
def test_nothing_is_lost_or_run_twice(tmp_path: Path, size: Size) -> None:
    made = Chaos(tmp_path, sqlite(tmp_path), size)
    (light.assert_staged if size.cheap_first else light.assert_whole)(made.run())
    assert made.n_ended == 0
    assert made.orphans() == []
    assert_tidy(tmp_path)


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'light.db'}"


def assert_tidy(folder: Path) -> None:
    assert not list((folder / "checkpoints").rglob("*")), "checkpoints were left"
    with sqlite3.connect(folder / "light.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
