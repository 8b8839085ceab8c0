"""Trials on a Ray cluster: Ray finds a node with room, and the same warm child process works inside.

Each slot is an actor that drives a `LocalExecutor` of one child on its node, so that limits, crashes and messages
are those of a single machine. A node that is lost takes its actors with it; their trials fail as `child_died` and
are queued again. They continue from their checkpoints where nodes share the home folder, and start over elsewhere.

The arrays that a trial may see are put into Ray's object store once a folder. A node that has the folder itself maps
that; on any other one the first trial writes them from the store to a folder that all trials of the node then map.
"""

import dataclasses
import math
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from pneumo_core import secrecy
from pneumo_core.errors import UserError
from pneumo_core.wire import Ready, ScoreRole, Task, TrialError
from search.executors import ray_token
from search.executors.devices import Machine, common_environment, gpu_environment
from search.executors.local import Limits
from search.executors.protocol import Event
from search.executors.station import PREFIX, Station

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:  # an optional extra
    raise UserError(f"--on ray needs Ray: pip install 'pneumo-search[ray]' ({error})") from error

CONNECT_S = 10.0
N_JOINS = 3  # attempts
STATION_POLL_S = 1.0
LEAVE_S = 2.0  # a station notices after its poll
SENT = ("meta.json", *(f"*_{role}.*" for role in ("train", "validation")))  # the other roles never leave this machine


@dataclass(frozen=True, kw_only=True)
class Share:
    """What Ray sets aside for one trial."""

    n_cpus: float = 1.0
    n_gpus: float = 0.0


@dataclass(eq=False)
class Slot:
    """An actor and what the coordinator waits for from it."""

    actor: Any
    task: Task | None = None
    alone: bool = False
    placed: bool = False  # Ray found room for it
    submitted: Any = None  # the answer of its `submit`, which says only whether it failed
    polled: Any = None  # the answer of its `poll`, on its way

    @property
    def number(self) -> int | None:
        return self.task.number if self.task else None


@dataclass
class RayExecutor:
    """An `Executor` over the cluster that Ray is connected to; `connect` makes one."""

    n_slots: int
    share: Share
    alone: Share | None = None  # for a trial that must have its device to itself, by default whole GPUs
    owns_connection: bool = False  # `close` ends it
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] | None = None  # None: the trainer, by the Python of each node
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._folder = f"{PREFIX}{uuid.uuid4().hex}"  # on every node
        self._slots: list[Slot] = []
        self._arrays: dict[str, Any] = {}  # by folder: where Ray's object store has them
        self._failed: list[TrialError] = []

    @property
    def n_free(self) -> int:
        if any(slot.alone for slot in self._slots):
            return 0  # others would take the room that it waits for
        return self.n_slots - sum(slot.task is not None for slot in self._slots)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        slot = self._fresh_slot(alone=True) if alone else self._idle_slot()
        self._assign(slot, task)

    def reply(self, number: int, *, stop: bool) -> None:
        slot = self._slot_of(number)
        if slot is not None:
            slot.actor.reply.remote(number, stop)

    def cancel(self, number: int) -> None:
        slot = self._slot_of(number)
        if slot is not None:
            self._end(slot)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        busy = [slot for slot in self._slots if slot.task]
        for slot in busy:
            slot.polled = slot.polled or slot.actor.poll.remote(STATION_POLL_S)
        if busy and not self._failed:
            ray.wait([slot.polled for slot in busy], timeout=timeout_s)
        elif not self._failed:
            time.sleep(timeout_s)
        events = [event for slot in busy if slot in self._slots for event in self._answers(slot)]
        events += self._failed
        self._failed = []
        return events

    def close(self) -> None:
        if leaving := [slot.actor.leave.remote() for slot in self._slots if slot.placed]:
            ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S)
        for slot in list(self._slots):
            self._end(slot)
        if self.owns_connection:
            self.owns_connection = False
            ray.shutdown()  # another search of this process connects anew

    def _answers(self, slot: Slot) -> list[Event]:
        ready, _ = ray.wait([slot.polled], timeout=0)
        if not ready:
            return []
        slot.polled = None
        try:
            events: list[Event] = list(ray.get(ready[0]))
            ray.get(slot.submitted)
        except RayError as error:
            return self._lost(slot, error)
        slot.placed = True
        for event in events:
            if not isinstance(event, Ready) and event.kind in ("done", "scored", "error"):
                self._finished(slot)
        return events

    def _assign(self, slot: Slot, task: Task) -> None:
        slot.task = task
        if not isinstance(task, ScoreRole) and task.checkpoint:
            Path(task.checkpoint).parent.mkdir(parents=True, exist_ok=True)  # nodes that see it share this disk
        slot.submitted = slot.actor.submit.remote(task, [self._arrays_of(task.arrays)])

    def _finished(self, slot: Slot) -> None:
        """Free the slot, or let it do what waits for room: after a node is lost there may be none for another."""
        slot.task = None
        if slot.alone or any(other.alone and not other.placed for other in self._slots):
            self._end(slot)  # gives back what it had more than others, or what one that must be alone waits for
            return
        waiting = next((s for s in self._slots if s.task and not s.placed and not s.alone), None)
        if waiting is not None and waiting.task is not None:
            task = waiting.task
            self._end(waiting)
            self._assign(slot, task)

    def _lost(self, slot: Slot, error: RayError) -> list[Event]:
        number = slot.number
        self._end(slot)
        if number is None:
            return []
        message = f"its Ray actor or node is gone: {str(error).splitlines()[0]}"
        return [TrialError(number=number, reason="child_died", message=message)]

    def _idle_slot(self) -> Slot:
        idle = next((slot for slot in self._slots if slot.task is None), None)
        return idle or self._fresh_slot()

    def _fresh_slot(self, *, alone: bool = False) -> Slot:
        for idle in [slot for slot in self._slots if slot.task is None]:
            self._end(idle)  # it may sit where there would be room
        share = self._alone_share() if alone else self.share
        environment = dict(self.environment) | (gpu_environment(1) if alone and share.n_gpus else {})
        actor_class = ray.remote(num_cpus=share.n_cpus, num_gpus=share.n_gpus, max_restarts=0)(Station)
        actor = actor_class.remote(environment, self.command, self.limits, self._folder)
        slot = Slot(actor=actor, alone=alone)
        self._slots.append(slot)
        return slot

    def _alone_share(self) -> Share:
        return self.alone or dataclasses.replace(self.share, n_gpus=math.ceil(self.share.n_gpus))

    def _slot_of(self, number: int) -> Slot | None:
        return next((slot for slot in self._slots if slot.number == number), None)

    def _end(self, slot: Slot) -> None:
        self._slots.remove(slot)
        ray.kill(slot.actor)  # its child sees the socket close, and the kernel ends it with its parent

    def _arrays_of(self, folder: str) -> Any:
        """Put what a trial may see of a folder of arrays into Ray's object store, once; return the reference."""
        if folder not in self._arrays:
            files = [file for pattern in SENT for file in sorted(Path(folder).glob(pattern))]
            self._arrays[folder] = ray.put({file.name: _content(file) for file in files})
        return self._arrays[folder]


def _content(file: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(np.memmap(file, np.uint8, mode="r"))


def connect(address: str | None, machine: Machine) -> RayExecutor:
    """Connect to a cluster, or start Ray on this machine when `address` is None and none runs here.

    Without GPUs and a number of workers, one trial a node with all its cores.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    is_connected = ray.is_initialized()  # by the program that calls us, whose connection we use and leave
    try:
        if not is_connected:
            _check_answers(address)
            if address is None:
                ray_token.make_private()
            with secrecy.put_aside():  # what starts a head copies the environment to all that it ever runs
                join(address, namespace="pneumo")
    except UserError:
        raise
    except Exception as error:  # Ray raises bare ones as well
        raise UserError(
            f"--on {address or 'ray'}: Ray is unavailable there: {error}; a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token in the environment, and the token where Ray looks for it"
        ) from error
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    n_gpus = int(sum(node.get("GPU", 0) for node in nodes))
    n_slots = machine.workers or (n_gpus * machine.trials_per_gpu if n_gpus else len(nodes))
    share = share_of(nodes, n_slots, 1 / machine.trials_per_gpu if n_gpus else 0.0)
    alone = None if n_gpus else share_of(nodes, len(nodes), 0.0)  # a whole node
    environment = common_environment(machine.backend) | (
        gpu_environment(machine.trials_per_gpu) if n_gpus else {"JAX_PLATFORMS": "cpu"}
    )
    return RayExecutor(
        n_slots=n_slots,
        share=share,
        alone=alone,
        owns_connection=not is_connected,
        environment=environment,
        limits=machine.limits,
    )


def join(address: str | None, **options: Any) -> None:
    """Do as `ray.init`, and again where what Ray starts for us dies or is too slow while starting.

    gRPC aborts at times in the server that a head starts for each client ("Check failed: next_worker->state ==
    KICKED", seen with Ray 2.60), which the next one knows nothing of. A node on a busy machine has 30 s to start, after
    which Ray raises a bare `Exception`.
    """
    for more in reversed(range(N_JOINS)):
        try:
            ray.init(address, log_to_driver=False, configure_logging=False, **options)
            return
        except Exception as error:
            if not more or not (isinstance(error, ConnectionAbortedError) or type(error) is Exception):
                raise
            ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Raise `UserError` at once where nothing listens: Ray itself tries for half a minute."""
    if address is None:
        return
    there = urlsplit(address)
    try:
        socket.create_connection((there.hostname or "", there.port or 0), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"--on {address}: nothing answers there ({error}); it must be the port for clients of a Ray head, "
            "by default 10001 (`ray start --head --ray-client-server-port 10001`)"
        ) from error


def share_of(nodes: Sequence[Mapping[str, float]], n_slots: int, n_gpus: float) -> Share:
    """Return an even share of the cores of the smallest node."""
    smallest = min(node.get("CPU", 1.0) for node in nodes)
    n_on_a_node = math.ceil(n_slots / len(nodes))
    return Share(n_cpus=max(1.0, smallest // n_on_a_node), n_gpus=n_gpus)
