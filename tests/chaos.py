"""Random faults under real searches, counted by kind: kills, stops, full disks, damaged files, servers that end.

    python -m tests.chaos [--faults 2200] [--counts build/chaos.jsonl] [--only SQLite]

Runs one small search after the other, each with some hundred faults of one kind under several coordinators, and adds a
line to the file of counts after each. Given again, the command continues from there; it ends with the table. Exit code
1 where a trial was lost, ran twice or changed, a process was left, or a coordinator ended that nobody killed.
"""

import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.search import chaos, light
from tests.search.chaos import Chaos, Row, Server, Size
from tests.search.executors import rays
from tests.search.full_disk import small_disk
from tests.search.storage import mysql, postgresql

N_FAULTS = 2200
DISK_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """One row of the table: what goes wrong where, and its share of all faults."""

    where: str
    name: str
    share: float
    size: Size

    @property
    def key(self) -> str:
        return f"{self.where}, {self.name}"


def _size(*kinds: str, **more: Any) -> Size:
    usual = {"n_faults": 110, "n_trials": 16, "n_coordinators": 4, "n_slots": 1, "epoch_s": 0.4, "mean_pause_s": 0.25}
    return Size(kinds=kinds, **usual | more)  # type: ignore[arg-type]


PARTS = (
    Part(where="SQLite", name="trainers killed", share=0.10, size=_size("trainer killed")),
    Part(where="SQLite", name="coordinators killed", share=0.10, size=_size("coordinator killed")),
    Part(where="SQLite", name="processes stopped", share=0.06, size=_size(*chaos.STOPS)),
    Part(where="SQLite", name="files damaged", share=0.10, size=_size(*chaos.FILES)),
    Part(where="SQLite", name="cheap trials first", share=0.05, size=_size(*chaos.KILLS, cheap_first=True)),
    Part(
        where="SQLite",
        name="disk full",
        share=0.03,
        size=_size(*chaos.FULL, n_faults=22, n_coordinators=2, mean_pause_s=0.5),
    ),
    *(
        Part(where=where, name=name, share=share, size=size)
        for where in ("PostgreSQL", "MariaDB")
        for name, share, size in (
            ("processes killed", 0.07, _size(*chaos.KILLS)),
            ("connections ended", 0.15, _size("connection ended", mean_pause_s=0.1)),
            ("server restarted", 0.02, _size("server restarted", n_faults=22, mean_pause_s=1.0)),
        )
    ),
    Part(
        where="Ray, SQLite",
        name="processes killed",
        share=0.08,
        size=_size(*chaos.STATIONS, n_faults=60, n_coordinators=1, n_slots=3),
    ),
)


def main() -> int:
    """Let it happen; return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=N_FAULTS, help="how many in all")
    parser.add_argument("--counts", type=Path, default=Path("build/chaos.jsonl"), help="the file of counts")
    parser.add_argument("--only", default="", help="parts whose name has this text")
    options = parser.parse_args()
    options.counts.parent.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if options.only in part.key:
            _run(part, round(part.share * options.faults), options.counts)
    rows = read(options.counts)
    print(f"\n{chaos.table(list(rows.values()))}")
    return 0 if all(is_clean(row, name) for name, row in rows.items()) else 1


def read(counts: Path) -> dict[str, Row]:
    """Return what the file of counts says, by part, in the table's order."""
    lines = counts.read_text("utf-8").splitlines() if counts.exists() else []
    found = [json.loads(line) for line in lines]
    order = [part.key for part in PARTS]
    rows: dict[str, Row] = {}
    for entry in sorted(found, key=lambda entry: order.index(entry["part"])):
        name, row = entry.pop("part"), Row(**entry | {"faults": Counter(entry["faults"])})
        rows[name] = rows[name] + row if name in rows else row
    return rows


def is_clean(row: Row, name: str) -> bool:
    """Return whether every promise was kept; where the database can't be written coordinators end, and say so."""
    return row.is_clean and (not row.n_ended or "disk full" in name)


def _run(part: Part, n_faults: int, counts: Path) -> None:
    """Run searches until the part has its faults."""
    with _server(part) as server:
        while (missing := n_faults - _reached(part, counts)) > 0:
            row = _one(part, min(missing, part.size.n_faults), server, seed=_reached(part, counts))
            with counts.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"part": part.key, **vars(row)}) + "\n")
            if not row.faults.total():
                raise SystemExit(f"{part.key}: nothing went wrong, so nothing can be counted")


def _reached(part: Part, counts: Path) -> int:
    row = read(counts).get(part.key)
    return row.faults.total() if row else 0


@contextmanager
def _server(part: Part) -> Iterator[Server | None]:
    made = {"PostgreSQL": postgresql, "MariaDB": mysql}.get(part.where)
    if made is None:
        yield None
        return
    if reason := made.missing():
        raise SystemExit(f"{part.key}: {reason}")
    with made.server() as server:
        yield server


def _one(part: Part, n_faults: int, server: Any, seed: int) -> Row:
    """Run one search with its faults; its folder stays where something was broken."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    began_s = time.monotonic()
    with ExitStack() as stack:
        place = stack.enter_context(small_disk(folder / "disk", DISK_BYTES)) if "disk full" in part.name else folder
        if server is not None:
            server.fresh()
        url = server.url if server is not None else f"sqlite:///{place / 'light.db'}"
        made = Chaos(place, url, replace(part.size, n_faults=n_faults), seed=seed, server=server)
        if part.where.startswith("Ray"):
            made.ray = stack.enter_context(_cluster(made.ray_tag))
        row = made.row(part.where)
        whole = server is not None or _is_whole(place)
    print(f"{time.monotonic() - began_s:.0f} s, {part.key}", flush=True)
    if is_clean(row, part.name) and whole:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}", flush=True)
    return row if whole else replace(row, n_lost=row.n_lost + 1)


@contextmanager
def _cluster(tag: str) -> Iterator[str]:
    os.environ[light.TAG] = tag
    try:
        with rays.cluster(3) as cluster:
            del os.environ[light.TAG]
            yield cluster.address
    finally:
        os.environ.pop(light.TAG, None)


def _is_whole(folder: Path) -> bool:
    """Return whether the database is sound and no checkpoint was left."""
    database = sqlite3.connect(folder / "light.db")
    sound = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    left = list((folder / "checkpoints").rglob("*"))
    print(*left, sep="\n", end="")
    return sound and not left


if __name__ == "__main__":
    sys.exit(main())
