"""Changes to a study's SQLite database such as another program, or a failing disk, could make."""

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    2**31,
    10**18,
    10**400,
    1.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "x/../../../outside/precious",
    "..",
    "\x1b[31m[b]x[/b]",
    "\0",
    [],
    [[]],
    ["x", None],
    {},
    {"kind": []},
    {"reason": 1},
)
DEEP = "[" * 20_000 + "]" * 20_000


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be open, with what is still in its log."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def mutate(file: Path, seed: int) -> str:
    """Change one thing in a database; return what."""
    rng = random.Random(seed)
    connection = sqlite3.connect(file)
    try:
        while True:
            try:
                with connection:
                    return _mutate(connection, rng)
            except (sqlite3.IntegrityError, OverflowError, _Unchanged):
                continue
    finally:
        connection.close()


class _Unchanged(Exception):
    pass


def _mutate(connection: sqlite3.Connection, rng: random.Random) -> str:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    table = rng.choice([t for t in tables if "attributes" in t] if rng.random() < 0.6 else tables)
    ids = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]
    if not ids:
        raise _Unchanged
    row = rng.choice(ids)
    if rng.random() < 0.1:
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        return f"{table}: row {row} deleted"
    columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
    column = "value_json" if "value_json" in columns and rng.random() < 0.8 else rng.choice(columns)
    (old,) = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
    new = _other(old, rng)
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
    return f"{table}.{column} of row {row}: {str(old)[:60]!r} is now {str(new)[:60]!r}"


def _other(old: object, rng: random.Random) -> Any:
    choice = rng.random()
    if isinstance(old, str) and choice < 0.7:
        try:
            return json.dumps(_inside(json.loads(old), rng))
        except ValueError:
            pass
    if choice < 0.75:
        return DEEP
    if choice < 0.8:
        return b"\xff\xfe\x00"
    found = rng.choice(HOSTILE)
    return json.dumps(found) if isinstance(found, list | dict) or rng.random() < 0.5 else found


def _inside(data: Any, rng: random.Random) -> Any:
    """Return JSON data with one thing in it changed or missing."""
    if not data or not isinstance(data, list | dict) or rng.random() < 0.2:
        return rng.choice(HOSTILE)
    key = rng.choice(list(data)) if isinstance(data, dict) else rng.randrange(len(data))
    if rng.random() < 0.2:
        del data[key]
    else:
        data[key] = _inside(data[key], rng)
    return data
