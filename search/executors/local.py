"""Trials in warm child processes of this machine."""

import contextlib
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pneumo_core import secrecy
from pneumo_core.peer import obituary
from pneumo_core.wire import Channel, EpochDone, Ready, Reply, Scored, Task, TrialDone, TrialError
from search.executors.control_groups import n_oom_kills, oom_counter
from search.executors.process import resident_bytes
from search.executors.protocol import Event

SHARE, WHOLE = "XLA_PYTHON_CLIENT_MEM_FRACTION", 0.9  # of a GPU's memory in JAX, and what one trial alone may take
TRAINER = (sys.executable, "-m", "pneumo_core.child")
HANG_TIMEOUT_S = 1800.0  # the longest epoch of a big network on a slow CPU, trace included, ends before
START_TIMEOUT_S = 300.0  # frameworks import in 3 to 11 s, on a cold network disk in minutes
TRIALS_PER_CHILD = 20  # resident memory grows by some 12 MB a trial in both TensorFlow and JAX
MEMORY_GROWTH = 0.5
DEATH_WAIT_S = 1.0  # from a closed socket to the end of its process
LOG_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a child is killed or replaced."""

    hang_timeout_s: float = HANG_TIMEOUT_S  # without a finished epoch
    trial_timeout_s: float | None = None
    trials_per_child: int = TRIALS_PER_CHILD
    memory_growth: float = MEMORY_GROWTH  # since the child's first trial, as a share of what it held then


@dataclass
class Child:
    """A running trainer process and what it works on."""

    process: subprocess.Popen[bytes]
    channel: Channel
    log: Path
    n_trials: int = 0
    number: int | None = None
    alone: bool = False  # its device is its own, and it was started so
    ready: bool = False
    started_s: float = 0.0
    heard_s: float = 0.0
    asked_s: float | None = None  # since when its trial waits for an answer
    first_bytes: int = 0  # resident after its first trial

    def __post_init__(self) -> None:
        self.count_kills()

    def count_kills(self) -> None:
        """Note the kills for want of memory so far where it runs."""
        self._oom_counter = oom_counter(self.process.pid)
        self._n_oom_kills = n_oom_kills(self._oom_counter)

    def saw_kills(self) -> bool:
        """Return whether the kernel killed a process for want of memory where it runs, since it was started."""
        return n_oom_kills(self._oom_counter) > self._n_oom_kills

    def assign(self, task: Task) -> None:
        self.number = task.number
        self.n_trials += 1
        self.started_s = self.heard_s = time.monotonic()
        self.asked_s = None
        self.channel.send(task)

    def answer(self, reply: Reply) -> None:
        """Let the trial train on; what it waited is not its own time."""
        now_s = time.monotonic()
        self.started_s += now_s - (self.asked_s or now_s)
        self.heard_s, self.asked_s = now_s, None
        self.channel.send(reply)

    def finished(self) -> None:
        """Note that its trial is over."""
        self.number = self.asked_s = None
        self.first_bytes = self.first_bytes or resident_bytes(self.process.pid)

    def is_worn(self, limits: Limits) -> bool:
        """Return whether a fresh process should take over: memory that frameworks leak comes back only so."""
        if self.alone or self.n_trials >= limits.trials_per_child:
            return True
        return self.n_trials > 1 and resident_bytes(self.process.pid) > self.first_bytes * (1 + limits.memory_growth)

    def kill(self) -> int | None:
        """End the process and all it started; return its exit code (negative: the signal), None if it lingers."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.channel.close()
        return self.exit_code()

    def exit_code(self) -> int | None:
        try:
            return self.process.wait(DEATH_WAIT_S)
        except subprocess.TimeoutExpired:  # stuck in the kernel, or only its socket closed
            return None


@dataclass
class LocalExecutor:
    """One child a slot, started when first needed and kept warm; its output goes to a log file.

    `environments` has one mapping a slot: GPU pinning and thread counts must be set before the framework loads.
    Slots with the same `CUDA_VISIBLE_DEVICES` share a device.
    """

    environments: Sequence[Mapping[str, str]]
    logs: Path
    command: Sequence[str] = TRAINER
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._children: dict[int, Child] = {}  # by slot
        self._token = secrets.token_hex(4)  # on a shared disk every container's coordinator may be process 1
        self._devices = [environment.get("CUDA_VISIBLE_DEVICES", "") for environment in self.environments]
        self._reserved: dict[str, Task] = {}  # device: what has it, or will have it, to itself
        self._failed: list[TrialError] = []

    @property
    def n_slots(self) -> int:
        return len(self.environments)

    @property
    def n_free(self) -> int:
        return len(self._free_slots())

    def submit(self, task: Task, *, alone: bool = False) -> None:
        free = self._free_slots()
        if not alone:
            self._assign(free[0], task)
            return
        device = min((self._devices[slot] for slot in free), key=lambda d: len(self._busy_slots(d)))
        self._reserved[device] = task
        self._start_reserved()

    def reply(self, number: int, *, stop: bool) -> None:
        slot = self._slot_of(number)
        if slot is None:
            return
        try:
            self._children[slot].answer(Reply(number=number, stop=stop))
        except OSError:
            self._bury(slot)

    def cancel(self, number: int) -> None:
        slot = self._slot_of(number)
        if slot is not None:
            self._children.pop(slot).kill()
        self._release(number)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        events: list[Event] = []
        with selectors.DefaultSelector() as selector:
            for slot, child in self._children.items():
                selector.register(child.channel, selectors.EVENT_READ, slot)
            readable = selector.select(0 if self._failed else timeout_s)
            now_s = time.monotonic()  # messages from before are readable: our own slowness is no child's silence
            for key, _ in readable:
                events += self._read(key.data)
        self._check_limits(now_s)
        self._start_reserved()
        events += self._failed
        self._failed = []
        return events

    def close(self) -> None:
        for child in self._children.values():
            child.process.kill()  # all at once; `kill` then waits for each
        for child in self._children.values():
            child.kill()
        self._children.clear()
        self._reserved.clear()

    def _free_slots(self) -> list[int]:
        return [s for s in range(self.n_slots) if not self._is_busy(s) and self._devices[s] not in self._reserved]

    def _busy_slots(self, device: str) -> list[int]:
        return [slot for slot in self._slots_on(device) if self._is_busy(slot)]

    def _slots_on(self, device: str) -> list[int]:
        return [slot for slot in range(self.n_slots) if self._devices[slot] == device]

    def _is_busy(self, slot: int) -> bool:
        return slot in self._children and self._children[slot].number is not None

    def _slot_of(self, number: int) -> int | None:
        return next((slot for slot, child in self._children.items() if child.number == number), None)

    def _start_reserved(self) -> None:
        """Start what waits for a device of its own, in a fresh process, without idle ones holding memory there."""
        for device, task in self._reserved.items():
            if not self._busy_slots(device):
                for slot in self._slots_on(device):
                    self._retire(slot)
                self._assign(self._slots_on(device)[0], task, alone=True)

    def _release(self, number: int) -> None:
        self._reserved = {device: task for device, task in self._reserved.items() if task.number != number}

    def _assign(self, slot: int, task: Task, *, alone: bool = False) -> None:
        if slot in self._children and self._children[slot].is_worn(self.limits):
            self._retire(slot)
        if slot not in self._children:
            self._children[slot] = self._spawn(slot, alone)
        try:
            self._children[slot].assign(task)
        except OSError:
            self._bury(slot)

    def _retire(self, slot: int) -> None:
        if slot in self._children:
            self._children.pop(slot).kill()

    def _spawn(self, slot: int, alone: bool) -> Child:
        environment = self.environments[slot]
        if alone and SHARE in environment:
            environment = {**environment, SHARE: f"{WHOLE:.2f}"}
        self.logs.mkdir(parents=True, exist_ok=True)  # someone may tidy up meanwhile
        ours, theirs = socket.socketpair()
        log = self.logs / f"child-{self._token}-{slot}.log"
        with theirs, log.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=secrecy.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for the coordinator alone
            )
        return Child(process=process, channel=Channel(ours), log=log, alone=alone)

    def _read(self, slot: int) -> list[Event]:
        child = self._children[slot]
        events: list[Event] = []
        try:
            for message in child.channel.receive():
                child.heard_s = time.monotonic()
                if not child.ready:
                    child.count_kills()  # what started it may have put it into a group of its own meanwhile
                child.ready = True
                child.asked_s = child.heard_s if isinstance(message, EpochDone) else None
                if isinstance(message, Ready | EpochDone | TrialDone | Scored | TrialError):
                    events.append(message)
                if isinstance(message, TrialDone | Scored | TrialError):
                    child.finished()
                    self._release(message.number)
        except (EOFError, OSError, ValueError):
            self._bury(slot)
        return events

    def _bury(self, slot: int) -> None:
        """Record the death of a child; its trial, if it had one, fails."""
        child = self._children[slot]
        code = child.exit_code()
        if code == -signal.SIGKILL and child.saw_kills():
            self._fail(slot, "out_of_memory", "the kernel killed the trainer process for want of memory")
        else:
            self._fail(slot, "child_died", _obituary(code, child.log))

    def _check_limits(self, now_s: float) -> None:
        limits = self.limits
        for slot, child in list(self._children.items()):
            _trim(child.log)
            if child.number is None or child.asked_s is not None:
                continue
            silence_s = limits.hang_timeout_s if child.ready else max(START_TIMEOUT_S, limits.hang_timeout_s)
            if now_s - child.heard_s > silence_s:
                self._fail(slot, "hang", f"no epoch ended within {silence_s:g} s; --hang-timeout allows more")
            elif limits.trial_timeout_s is not None and now_s - child.started_s > limits.trial_timeout_s:
                self._fail(slot, "trial_timeout", f"the trial took longer than {limits.trial_timeout_s:g} s")

    def _fail(self, slot: int, reason: str, message: str) -> None:
        child = self._children.pop(slot)
        child.kill()
        if child.number is not None:
            self._release(child.number)
            self._failed.append(TrialError(number=child.number, reason=reason, message=message))


def _trim(log: Path) -> None:
    """Empty a log that a chatty library fills without end; the child appends, so it can continue."""
    with contextlib.suppress(FileNotFoundError):  # someone may have deleted it
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)


def _obituary(code: int | None, log: Path) -> str:
    try:
        with log.open("rb") as file:
            return obituary("the trainer process", code, file)
    except FileNotFoundError:  # someone may have deleted it
        return obituary("the trainer process", code)
