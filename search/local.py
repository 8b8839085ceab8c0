"""Trials in warm child processes of this machine."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pneumo_core.wire import Channel, EpochDone, Ready, Reply, Scored, Task, TrialDone, TrialError
from search.executor import Event

TRAINER = (sys.executable, "-m", "pneumo_core.child")
HANG_TIMEOUT_S = 1800.0  # the longest epoch of a big network on a slow CPU, trace included, ends before
TRIALS_PER_CHILD = 20  # resident memory grows by some 12 MB a trial in both TensorFlow and JAX
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a child is killed or replaced."""

    hang_timeout_s: float = HANG_TIMEOUT_S  # without a finished epoch
    trial_timeout_s: float | None = None
    trials_per_child: int = TRIALS_PER_CHILD


@dataclass
class Child:
    """A running trainer process and what it works on."""

    process: subprocess.Popen[bytes]
    channel: Channel
    log: Path
    n_trials: int = 0
    number: int | None = None
    started_s: float = 0.0
    heard_s: float = 0.0

    def assign(self, task: Task) -> None:
        self.number = task.number
        self.n_trials += 1
        self.started_s = self.heard_s = time.monotonic()
        self.channel.send(task)

    def kill(self) -> int:
        """End the process and return its exit code (negative: the signal)."""
        self.process.kill()
        self.channel.close()
        return self.process.wait()


@dataclass
class LocalExecutor:
    """One child a slot, started when first needed and kept warm; its output goes to a log file.

    `environments` has one mapping a slot: GPU pinning and thread counts must be set before the framework loads.
    """

    environments: Sequence[Mapping[str, str]]
    logs: Path
    command: Sequence[str] = TRAINER
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._children: dict[int, Child] = {}  # by slot
        self._failed: list[TrialError] = []
        self.logs.mkdir(parents=True, exist_ok=True)

    @property
    def n_slots(self) -> int:
        return len(self.environments)

    def submit(self, task: Task) -> None:
        slot = next(s for s in range(self.n_slots) if s not in self._children or self._children[s].number is None)
        try:
            self._child(slot).assign(task)
        except OSError:
            self._fail(slot, "child_died", "the trainer process ended before the trial began")

    def reply(self, number: int, *, stop: bool) -> None:
        slot = self._slot_of(number)
        if slot is None:
            return
        try:
            self._children[slot].channel.send(Reply(number=number, stop=stop))
        except OSError:
            self._bury(slot)

    def cancel(self, number: int) -> None:
        slot = self._slot_of(number)
        if slot is not None:
            self._children.pop(slot).kill()

    def poll(self, timeout_s: float) -> Sequence[Event]:
        events: list[Event] = []
        with selectors.DefaultSelector() as selector:
            for slot, child in self._children.items():
                selector.register(child.channel, selectors.EVENT_READ, slot)
            for key, _ in selector.select(0 if self._failed else timeout_s):
                events += self._read(key.data)
        self._check_clocks()
        events += self._failed
        self._failed = []
        return events

    def close(self) -> None:
        for child in self._children.values():
            child.kill()
        self._children.clear()

    def _slot_of(self, number: int) -> int | None:
        return next((slot for slot, child in self._children.items() if child.number == number), None)

    def _child(self, slot: int) -> Child:
        child = self._children.get(slot)
        if child and child.n_trials >= self.limits.trials_per_child:
            self._children.pop(slot).kill()
            child = None
        if child is None:
            child = self._children[slot] = self._spawn(slot)
        return child

    def _spawn(self, slot: int) -> Child:
        ours, theirs = socket.socketpair()
        log = self.logs / f"child-{os.getpid()}-{slot}.log"
        with theirs, log.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | dict(self.environments[slot]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for the coordinator alone
            )
        return Child(process=process, channel=Channel(ours), log=log)

    def _read(self, slot: int) -> list[Event]:
        child = self._children[slot]
        events: list[Event] = []
        try:
            for message in child.channel.receive():
                child.heard_s = time.monotonic()
                if isinstance(message, Ready | EpochDone | TrialDone | Scored | TrialError):
                    events.append(message)
                if isinstance(message, TrialDone | Scored | TrialError):
                    child.number = None
        except (EOFError, OSError, ValueError):
            self._bury(slot)
        return events

    def _bury(self, slot: int) -> None:
        """Record the death of a child; its trial, if it had one, fails."""
        child = self._children[slot]
        time.sleep(0.05)  # let the process end by itself, so that its own signal is the one reported
        code = child.process.poll()
        self._fail(slot, "child_died", f"the trainer process ended with {_say_exit(code)}")

    def _check_clocks(self) -> None:
        now, limits = time.monotonic(), self.limits
        for slot, child in list(self._children.items()):
            if child.number is None:
                continue
            if now - child.heard_s > limits.hang_timeout_s:
                self._fail(slot, "hang", f"no epoch ended within {limits.hang_timeout_s:g} s")
            elif limits.trial_timeout_s is not None and now - child.started_s > limits.trial_timeout_s:
                self._fail(slot, "trial_timeout", f"the trial took longer than {limits.trial_timeout_s:g} s")

    def _fail(self, slot: int, reason: str, message: str) -> None:
        child = self._children.pop(slot)
        child.kill()
        if child.number is not None:
            tail = _tail(child.log) if reason == "child_died" else ""
            self._failed.append(TrialError(number=child.number, reason=reason, message=message + tail))


def _say_exit(code: int | None) -> str:
    if code is None:
        return "a closed connection"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tail(log: Path) -> str:
    """Return the last lines of a child's output, which often name the cause."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace").strip()
    return f"; its last output:\n{text}" if text else ""
