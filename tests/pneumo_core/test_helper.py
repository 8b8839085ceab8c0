"""What a helper process costs and survives. The functions here are what helpers are asked to do."""

import os
import signal
import time
from pathlib import Path

import pytest

from pneumo_core import helper
from pneumo_core.errors import DataError

MIB = 2**20


def pid() -> int:
    return os.getpid()


def peak_bytes() -> int:
    """Return the most memory of this process since it began: `ru_maxrss` counts what its parent had as well."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def take(n_bytes: int) -> int:
    return len(b"x" * n_bytes)


def refuse() -> None:
    raise DataError("is wrong")


def fail() -> None:
    raise RuntimeError("Doe^Jane")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_one_helper_serves_call_after_call() -> None:
    first = helper.call(pid, n_bytes=64 * MIB)
    assert first not in (os.getpid(), 0)
    assert helper.call(pid, n_bytes=64 * MIB) == first


def test_memory_is_limited_and_the_helper_stays() -> None:
    before = helper.call(pid, n_bytes=64 * MIB)
    assert helper.call(take, 32 * MIB, n_bytes=64 * MIB) == 32 * MIB
    with pytest.raises(helper.Exhausted, match="needs more than 64 MiB of memory to be read; export it smaller"):
        helper.call(take, 2048 * MIB, n_bytes=64 * MIB)
    assert helper.call(pid, n_bytes=64 * MIB) == before
    assert helper.call(peak_bytes, n_bytes=64 * MIB) < 200 * MIB


def test_an_error_of_the_file_comes_back_as_it_is_and_another_without_its_text() -> None:
    with pytest.raises(DataError, match=r"^is wrong$"):
        helper.call(refuse, n_bytes=64 * MIB)
    with pytest.raises(DataError, match=r"^is damaged \(RuntimeError\); copy or export it again$"):
        helper.call(fail, n_bytes=64 * MIB)


def test_a_crash_costs_one_call() -> None:
    with pytest.raises(DataError, match=r"makes its decoder crash \(SIGSEGV\)"):
        helper.call(crash, n_bytes=64 * MIB)
    assert helper.call(take, 1, n_bytes=64 * MIB) == 1


def loop() -> None:
    while True:
        pass


def test_a_loop_costs_one_call() -> None:
    with pytest.raises(helper.TooLong, match="takes longer than 1 s"):
        helper.call(loop, n_bytes=64 * MIB, limit_s=1)
    assert helper.call(take, 1, n_bytes=64 * MIB) == 1


def test_waiting_for_a_processor_counts_for_nothing() -> None:
    helper.call(time.sleep, 1.5, n_bytes=64 * MIB, limit_s=1)


def test_who_waits_for_ever_costs_one_call() -> None:
    with pytest.raises(helper.TooLong):
        helper.call(time.sleep, 3600, n_bytes=64 * MIB, limit_s=0.05)
    assert helper.call(take, 1, n_bytes=64 * MIB) == 1
