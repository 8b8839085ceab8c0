"""What each trainer may use, with GPUs that are only said to be there."""

import os
from pathlib import Path

import pytest

from pneumo_core.errors import UserError
from pneumo_core.wire import EpochDone
from search.executors import devices
from search.executors.devices import Machine, slot_environments
from search.launching import local_executor
from tests.search import light
from tests.search.executors.test_executors import task


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_gpus_present", lambda: ["0", "1"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_gets_its_trials_and_each_trial_its_share() -> None:
    slots = slot_environments(Machine(trials_per_gpu=2))
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1", "0", "1"]
    assert {slot["XLA_PYTHON_CLIENT_MEM_FRACTION"] for slot in slots} == {"0.45"}
    assert {slot["TF_FORCE_GPU_ALLOW_GROWTH"] for slot in slots} == {"true"}


@pytest.mark.usefixtures("two_gpus")
def test_named_gpus_only() -> None:
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slot_environments(Machine(device="1", workers=2))] == ["1", "1"]
    with pytest.raises(UserError, match="no GPU '7'; GPUs here: 0, 1"):
        slot_environments(Machine(device="7"))


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_numbered_as_they_are_listed() -> None:
    assert {slot["CUDA_DEVICE_ORDER"] for slot in slot_environments(Machine())} == {"PCI_BUS_ID"}


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("allowed", "used"),
    [
        ("1", ["1"]),
        ("3, 2", ["3", "2"]),
        ("GPU-1b2c,MIG-77", ["GPU-1b2c", "MIG-77"]),
        ("1,-1,0", ["1"]),
        ("", ["-1"]),
        ("-1", ["-1"]),
    ],
)
def test_only_the_gpus_that_were_left_to_us_are_used(
    monkeypatch: pytest.MonkeyPatch, allowed: str, used: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    slots = slot_environments(Machine())
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == used
    assert all("CUDA_DEVICE_ORDER" not in slot for slot in slots)  # the numbers are those of whoever gave them
    with pytest.raises(UserError, match="no GPU '0'"):
        slot_environments(Machine(device="0"))


def test_cores_are_divided_and_none_is_used_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    slots = slot_environments(Machine(device="cpu", workers=3))
    cores = [slot["PNEUMO_CPUS"].split(",") for slot in slots]
    assert sorted(core for mine in cores for core in mine) == [str(core) for core in range(8)]
    assert [slot["OMP_NUM_THREADS"] for slot in slots] == ["3", "3", "2"]
    assert all(slot["CUDA_VISIBLE_DEVICES"] == "-1" for slot in slots)


def test_one_trainer_on_the_cpu_is_not_pinned() -> None:
    [slot] = slot_environments(Machine(device="cpu", workers=1, backend="jax"))
    assert "PNEUMO_CPUS" not in slot
    assert slot["KERAS_BACKEND"] == "jax"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UserError, match="tensorflow, jax, got 'torch'"):
        slot_environments(Machine(device="cpu", backend="torch"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes don't show their environment here")
def test_the_trainers_processes_have_their_gpu_and_share_from_their_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = tmp_path / "nvidia-smi"
    query.write_text("#!/bin/sh\necho 0\necho 1\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(light.ROOT))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PNEUMO_STORAGE", "postgresql://me:secret@host/db")
    monkeypatch.setenv(light.TAG, str(tmp_path))
    executor = local_executor(Machine(trials_per_gpu=2, backend="jax"), tmp_path / "logs")
    executor.command = light.TRAINER
    try:
        for number in range(executor.n_slots):
            executor.submit(task(tmp_path, number))
        waiting: set[int] = set()  # for the answer to their first epoch
        while len(waiting) < 4:
            waiting |= {event.number for event in executor.poll(1.0) if isinstance(event, EpochDone)}
        started = [environ(pid) for pid in light.processes(str(tmp_path)) if pid != os.getpid()]
    finally:
        executor.close()
    assert sorted(each["CUDA_VISIBLE_DEVICES"] for each in started) == ["0", "0", "1", "1"]
    for each in started:
        assert each["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
        assert each["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
        assert each["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.45"
        assert each["KERAS_BACKEND"] == "jax"
        assert "PNEUMO_STORAGE" not in each


def environ(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    return dict(word.split("=", 1) for word in words)
