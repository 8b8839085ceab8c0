"""The kernel's control groups: how much memory a process may have, and which processes were killed for want of it.

Version 2 has one tree of groups, version 1 one for memory. A container without a namespace for them sees its own group
as the top of the tree, and the names of the groups above it in `/proc`.
"""

import math
from pathlib import Path

ROOT = Path("/")
LIMITS = ("memory.max", "memory.limit_in_bytes")  # of version 2, of version 1
COUNTERS = ("memory.events", "memory.oom_control")


def oom_counter(pid: int, root: Path = ROOT) -> Path:
    """Return the file in which the kernel counts kills for want of memory where process `pid` runs.

    That is the nearest group around it that counts them, else the whole machine. A kill counts in the victim's group,
    whether the limit that was met is that group's, one's above it or the machine's, and under version 2 in all groups
    above.
    """
    files = (group / name for group in _groups(pid, root) for name in COUNTERS)
    return next((file for file in files if _oom_kills(file) is not None), root / "proc/vmstat")


def n_oom_kills(counter: Path) -> int:
    """Return how many processes were killed for want of memory by an `oom_counter`, 0 where it doesn't say."""
    return _oom_kills(counter) or 0


def memory_limit_bytes(pid: int, root: Path = ROOT) -> float:
    """Return the memory that the groups around process `pid` allow, infinite where none limits it."""
    return min((_limit_bytes(group / name) for group in _groups(pid, root) for name in LIMITS), default=math.inf)


def _groups(pid: int, root: Path) -> list[Path]:
    """Return the folders of the groups that the memory of process `pid` counts in, the innermost first."""
    lines = _read(root / f"proc/{pid}/cgroup").splitlines()
    paths = {kind: path for _, kinds, path in (line.split(":", 2) for line in lines) for kind in kinds.split(",")}
    top = root / "sys/fs/cgroup" / ("memory" if "memory" in paths else "")
    names = Path(paths.get("memory", paths.get("", "/"))).parts[1:]
    return [top.joinpath(*names[:n]) for n in range(len(names), -1, -1)]


def _oom_kills(file: Path) -> int | None:
    counts = dict(line.partition(" ")[::2] for line in _read(file).splitlines())
    return int(counts["oom_kill"]) if "oom_kill" in counts else None


def _limit_bytes(file: Path) -> float:
    try:
        return float(_read(file))
    except ValueError:  # "max", or no such file
        return math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="surrogateescape")
    except OSError:
        return ""
