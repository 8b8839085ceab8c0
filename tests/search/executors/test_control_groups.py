"""Counts and limits of control groups, in folders that look like the kernel's."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from search.executors.control_groups import memory_limit_bytes, n_oom_kills, oom_counter

PID = 7
V1 = "9:name=systemd:/\n4:memory:{}\n1:cpu,cpuacct:/elsewhere\n0::/\n"


def machine(folder: Path, cgroup: str, files: Mapping[str, str]) -> Path:
    """Return a root with `/proc` and the files of groups, by their place below /sys/fs/cgroup."""
    given = {f"proc/{PID}/cgroup": cgroup, "proc/vmstat": "nr_free_pages 12\noom_kill 50\n"}
    for name, text in (given | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def events(n_kills: int) -> str:
    return f"low 0\nhigh 0\nmax 9\noom 8\noom_kill {n_kills}\noom_group_kill 0\n"


def control(n_kills: int) -> str:
    return f"oom_kill_disable 0\nunder_oom 0\noom_kill {n_kills}\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "counter", "n_kills"),
    [
        pytest.param(
            "0::/user.slice/mine.scope\n",
            {"user.slice/memory.events": events(9), "user.slice/mine.scope/memory.events": events(2)},
            "sys/fs/cgroup/user.slice/mine.scope/memory.events",
            2,
            id="its own group",
        ),
        pytest.param(
            "0::/job/step\n",
            {"job/memory.events": events(3), "job/step/cgroup.procs": ""},
            "sys/fs/cgroup/job/memory.events",
            3,
            id="a group above, where its own has no memory of its own",
        ),
        pytest.param(
            "0::/\n", {"memory.events": events(1)}, "sys/fs/cgroup/memory.events", 1, id="the top of a container"
        ),
        pytest.param("0::/\n", {"cgroup.procs": ""}, "proc/vmstat", 50, id="the top of the machine, without events"),
        pytest.param(
            V1.format("/batch"),
            {"memory/batch/memory.oom_control": control(4), "memory/memory.oom_control": control(6)},
            "sys/fs/cgroup/memory/batch/memory.oom_control",
            4,
            id="version 1",
        ),
        pytest.param(
            V1.format("/docker/0af3"),
            {"memory/memory.oom_control": control(5)},
            "sys/fs/cgroup/memory/memory.oom_control",
            5,
            id="version 1, a container that doesn't see the names above it",
        ),
        pytest.param(
            V1.format("/"),
            {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"},
            "proc/vmstat",
            50,
            id="version 1, before the kernel counted",
        ),
        pytest.param("0::/gone (deleted)\n", {}, "proc/vmstat", 50, id="no groups"),
    ],
)
def test_kills_count_where_the_process_runs(
    tmp_path: Path, cgroup: str, files: Mapping[str, str], counter: str, n_kills: int
) -> None:
    root = machine(tmp_path, cgroup, files)
    found = oom_counter(PID, root)
    assert found == root / counter
    assert n_oom_kills(found) == n_kills


def test_another_program_that_runs_out_of_memory_is_not_counted(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/mine\n", {"mine/memory.events": events(0)})
    counter = oom_counter(PID, root)
    (root / "proc/vmstat").write_text("oom_kill 51\n")
    assert n_oom_kills(counter) == 0
    (root / "sys/fs/cgroup/mine/memory.events").write_text(events(1))
    assert n_oom_kills(counter) == 1


def test_nothing_is_counted_where_the_system_says_nothing(tmp_path: Path) -> None:
    assert n_oom_kills(oom_counter(PID, tmp_path)) == 0
    assert memory_limit_bytes(PID, tmp_path) == math.inf


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "1000000\n"}, 1e6),
        ("0::/\n", {"memory.max": "max\n"}, math.inf),
        ("0::/slurm/job\n", {"slurm/job/memory.max": "max\n", "slurm/memory.max": "3000000\n"}, 3e6),
        ("0::/slurm/job\n", {"slurm/job/memory.max": "2000000\n", "slurm/memory.max": "3000000\n"}, 2e6),
        (V1.format("/batch"), {"memory/batch/memory.limit_in_bytes": "4000000\n"}, 4e6),
        (V1.format("/docker/0af3"), {"memory/memory.limit_in_bytes": "5000000\n"}, 5e6),
    ],
)
def test_the_smallest_limit_around_a_process_holds(
    tmp_path: Path, cgroup: str, files: Mapping[str, str], limit: float
) -> None:
    assert memory_limit_bytes(PID, machine(tmp_path, cgroup, files)) == limit


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_the_running_kernel_is_read() -> None:
    counter = oom_counter(os.getpid())
    assert counter.exists()
    assert n_oom_kills(counter) >= 0
    assert memory_limit_bytes(os.getpid()) > 0
