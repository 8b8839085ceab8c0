"""How many trials run side by side by default: one per core of the CPU, as far as memory allows.

One training with two cores keeps 1.1 to 1.2 of them busy, because tracing, changing images and judging are serial; two
with a core each finish 1.6 times the trials in an hour (docs/performance.md).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumo_core.parallel import n_cores
from pneumo_core.specs import TrialSpec
from search.executors.control_groups import memory_limit_bytes

MOST = 4  # each suggestion learns less from the others the more of them run at once, and memory adds up
FRAMEWORK_BYTES = 1.2e9  # that a trainer holds with any network
PIXEL_BYTES = 1_200.0  # and more for each pixel of a batch
SPARE_SHARE = 0.8  # of the free memory; the rest is for the coordinator and whatever else runs


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How many trainers, and why so many."""

    n: int
    why: str


def choose(trials: Sequence[TrialSpec], n_trials: int, *, deterministic: bool) -> Choice:
    """Return how many of a study's `n_trials` run at once on the CPU; `trials` are draws of its space.

    A deterministic study gets one, since what its trials learn from each other depends on their number.
    """
    if deterministic:
        return Choice(n=1, why="One trial at a time: the study is deterministic. --workers N runs N side by side.")
    cores, each = n_cores(), trainer_bytes(trials)
    free = free_bytes()
    fit = max(1, int(SPARE_SHARE * free / each))
    n = min(cores, MOST, n_trials, fit)
    limit = f"one may take {each / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    held = f", no more because {limit}" if n == fit < min(cores, MOST, n_trials) else ""
    what = "One trial at a time" if n == 1 else f"{n} trials side by side"
    return Choice(n=n, why=f"{what} on {cores} core{'s' if cores > 1 else ''}{held}; --workers N says otherwise.")


def trainer_bytes(trials: Sequence[TrialSpec]) -> float:
    """Return what a trainer may hold that runs the largest of `trials`, by the pixels of its batches."""
    pixels = max(trial.train.batch_size * trial.data.image_size_px**2 for trial in trials)
    return FRAMEWORK_BYTES + PIXEL_BYTES * pixels


def free_bytes() -> float:
    """Return the memory that new processes can have: what is free, within the limits of container, job or service."""
    return min(_available_bytes(), memory_limit_bytes(os.getpid()))


def _available_bytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:  # not on Linux: half of the memory is as good a guess as any
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
