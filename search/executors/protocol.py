"""Where trials run: the protocol between the coordinator and every executor."""

from collections.abc import Sequence
from typing import Protocol

from pneumo_core.wire import EpochDone, Ready, Scored, Task, TrialDone, TrialError

Event = Ready | EpochDone | TrialDone | Scored | TrialError


class Executor(Protocol):
    """Runs trials side by side. Every submitted task ends in exactly one `TrialDone` (or `Scored`) or `TrialError`."""

    @property
    def n_slots(self) -> int:
        """How many trials may run at once."""

    @property
    def n_free(self) -> int:
        """How many trials may be submitted now."""

    def submit(self, task: Task, *, alone: bool = False) -> None:
        """Start a trial; the caller sees to it that `n_free` is positive.

        One that is `alone` waits until nothing else runs on some device, has that to itself, and holds it back
        from others meanwhile.
        """

    def reply(self, number: int, *, stop: bool) -> None:
        """Answer the trial's last `EpochDone`; it waits until then."""

    def cancel(self, number: int) -> None:
        """Forget a trial and stop its work at once; no event of it comes any more."""

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Wait for something to happen, at most `timeout_s`, and return it in the order it happened."""

    def close(self) -> None:
        """Stop everything at once and leave no process behind."""
