"""A limit on memory that the kernel enforces, for the trainers of a test."""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[Path]:
    """Yield a control group below this process's own that may hold so much; skip the test where none can be made."""
    group = _own() / f"pneumo-test-{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        _limit(group, n_bytes)
        yield group
    finally:
        deadline_s = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        group.rmdir()


def within(group: Path, *command: str) -> list[str]:
    """Return `command` as one that puts itself into the group first."""
    return ["/bin/sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *command]


def _own() -> Path:
    if sys.platform != "linux":
        pytest.skip("control groups are Linux's")
    mine = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    return ROOT / "memory" / mine["memory"].lstrip("/") if "memory" in mine else ROOT / mine.get("", "").lstrip("/")


def _limit(group: Path, n_bytes: int) -> None:
    first, swap = ("memory.max", "memory.swap.max")
    if (group / "memory.limit_in_bytes").exists():  # version 1
        first, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
    try:
        (group / first).write_text(str(n_bytes))
    except OSError as error:
        pytest.skip(f"no memory can be limited here: {error}")
    with contextlib.suppress(OSError):
        (group / swap).write_text("0" if swap == "memory.swap.max" else str(n_bytes))
