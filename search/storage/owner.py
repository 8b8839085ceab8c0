"""Which coordinator runs a trial, and whether it still lives.

On its own machine the process table shows it, and within one process, such as a notebook's, a set of the living
coordinators. Elsewhere its heartbeats show it: a counter that stops for `GRACE_S` on the reader's own clock belongs to
a dead coordinator. Two clocks are never compared, so a wrong clock, or one set back, can neither kill a living trial
nor hide a dead one.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from pneumo_core import codec
from search.executors import process

ATTRIBUTE = "owner"
HEARTBEAT_S = 15.0
GRACE_S = 180.0  # longer than a coordinator is busy with one thing, such as preparing arrays
_LIVING: set[str] = set()  # tokens of this process's coordinators, which the process table doesn't distinguish


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A coordinator; `beats` counts its signs of life."""

    place: str  # where the pid means something
    pid: int
    started: str  # distinguishes a recycled pid
    beats: int = 0
    token: str = ""  # distinguishes the coordinators of one process; empty if an earlier version wrote it

    def is_dead_here(self) -> bool:
        """Return True only for a coordinator of this machine that is gone."""
        if self.place != process.place():
            return False
        left_here = self.pid == os.getpid() and self.token not in _LIVING
        return left_here or process.start_time(self.pid) != self.started

    def is_same(self, other: "Owner") -> bool:
        return replace(self, beats=0) == replace(other, beats=0)


def this_process() -> Owner:
    """Return an owner for a new coordinator of this process; it counts as dead but while it is `living`."""
    pid = os.getpid()
    return Owner(place=process.place(), pid=pid, started=process.start_time(pid), token=uuid.uuid4().hex)


@contextmanager
def living(owner: Owner) -> Iterator[None]:
    """Let the other coordinators of this process see `owner` alive until the block is left."""
    _LIVING.add(owner.token)
    try:
        yield
    finally:
        _LIVING.discard(owner.token)


def owner_of(trial: FrozenTrial) -> Owner | None:
    """Return who runs the trial; None when its coordinator died before that was written."""
    try:
        return codec.from_json(Owner, trial.user_attrs.get(ATTRIBUTE))
    except ValueError:
        return None


@dataclass
class Watch:
    """Remembers since when each coordinator elsewhere has been silent."""

    grace_s: float = GRACE_S
    _seen: dict[int, tuple[Owner, float]] = field(default_factory=dict)

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Return whether the coordinator of a running trial is dead, as far as is known by now."""
        owner = owner_of(trial)
        if owner is None or owner.is_dead_here():
            return True
        if owner.place == process.place():
            return False
        seen, since_s = self._seen.get(trial.number, (None, 0.0))
        if seen != owner:
            self._seen[trial.number] = (owner, time.monotonic())
            return False
        return time.monotonic() - since_s > self.grace_s
