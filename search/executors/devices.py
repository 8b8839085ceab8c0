"""What each trainer process may use: CPU cores, or one GPU. Set as environment before a framework loads."""

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field

from pneumo_core.errors import UserError
from pneumo_core.lifeline import CPUS
from search.executors.local import SHARE, WHOLE, Limits

VISIBLE = "CUDA_VISIBLE_DEVICES"
BACKENDS = ("tensorflow", "jax")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where trials run, how many in parallel, and when one of them is stopped."""

    on: str = "local"  # this machine; "ray" or "ray://HOST" for a cluster
    device: str = "auto"  # or cpu, or GPU numbers such as "0,1"
    workers: int | None = None  # trials in parallel; None: `trials_per_gpu` a GPU, one on a CPU, where `launch` chooses
    trials_per_gpu: int = 1
    backend: str | None = None  # None: $KERAS_BACKEND, else tensorflow
    limits: Limits = field(default_factory=Limits)


def slot_environments(machine: Machine) -> list[dict[str, str]]:
    """Return one environment a trainer; on the CPU the cores are divided among the trainers.

    Raises `UserError` for a device that is not there.
    """
    gpus = _choose_gpus(machine.device)
    n_slots = machine.workers or max(1, len(gpus) * machine.trials_per_gpu)
    common = common_environment(machine.backend)
    if gpus:
        n_sharing = max(1, -(-n_slots // len(gpus)))
        shared = common | gpu_environment(n_sharing) | _order()
        return [shared | {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(n_slots)]
    return [common | _cpu(slot, n_slots) for slot in range(n_slots)]


def is_cpu_only(machine: Machine) -> bool:
    """Return whether trials run on this machine's CPU. Raises `UserError` for a device that is not there."""
    return machine.on == "local" and not _choose_gpus(machine.device)


def common_environment(backend: str | None) -> dict[str, str]:
    """Return the environment that every trainer gets, wherever it runs."""
    return {
        "KERAS_BACKEND": _check_backend(backend or os.environ.get("KERAS_BACKEND", "tensorflow")),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "PYTHONUNBUFFERED": "1",
    }


def gpu_environment(n_sharing: int) -> dict[str, str]:
    """Return how a trainer takes memory of a GPU that `n_sharing` use: as it grows, in JAX up to a fair share."""
    return {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        SHARE: f"{WHOLE / n_sharing:.2f}",
    }


def _cpu(slot: int, n_slots: int) -> dict[str, str]:
    """Pin a slot to its share of the cores: thread pools of every backend size themselves by what they may use."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    mine = cores[slot % max(1, len(cores)) :: n_slots] or cores
    threads = {name: str(max(1, len(mine))) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")} if mine else {}
    pinned = {CPUS: ",".join(map(str, mine))} if mine and n_slots > 1 else {}
    return {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"} | threads | pinned


def _choose_gpus(device: str) -> list[str]:
    if device == "cpu":
        return []
    present = _gpus_allowed()
    if device == "auto":
        return present
    wanted = device.split(",")
    for number in wanted:
        if number not in present:
            there = ", ".join(present) or "none"
            raise UserError(f"--device {device}: there is no GPU {number!r}; GPUs here: {there}; or use auto or cpu")
    return wanted


def _gpus_allowed() -> list[str]:
    """Return the GPUs that we may use, by number or name: all, or those that the user or SLURM selected."""
    present, allowed = _gpus_present(), os.environ.get(VISIBLE)
    if not present or allowed is None:
        return present
    named = [word.strip() for word in allowed.split(",")]
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), named))  # CUDA ends the list there


def _order() -> dict[str, str]:
    """Return in which order GPUs are numbered: as by nvidia-smi, unless the user has chosen some by number.

    CUDA's own default puts the fastest first.
    """
    return {} if VISIBLE in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _gpus_present() -> list[str]:
    """Return the numbers of the NVIDIA GPUs, without loading a framework."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def _check_backend(backend: str) -> str:
    if backend not in BACKENDS:
        raise UserError(f"the Keras backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend
