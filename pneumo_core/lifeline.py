"""What ties a trainer process to its coordinator and to its share of the machine."""

import ctypes
import os
import select
import signal
import sys
from typing import TextIO

CPUS = "PNEUMO_CPUS"  # environment variable: the cores this process may use, such as "0,2"
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def settle(connection: int) -> None:
    """Take only the cores meant for this process, and ask the kernel to end it with its parent.

    The reader of the socket (`child.listen`) sees a dead coordinator too, but not while native code holds
    Python's lock; the kernel needs no lock. To be called before a framework counts the cores. Of a parent that died
    before this call the kernel says nothing, but it closed its end of `connection`, a descriptor: this process ends.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if _is_closed(connection):
        os._exit(0)
    if mine := os.environ.get(CPUS):
        os.sched_setaffinity(0, {int(core) for core in mine.split(",")} & os.sched_getaffinity(0))


def _is_closed(connection: int) -> bool:
    """Return whether the other end of a socket or pipe is closed."""
    poll = select.poll()
    poll.register(connection, 0)  # a closed end is reported unasked
    return bool(poll.poll(0))


def own_output() -> TextIO:
    """Return what was standard output, for messages to the parent alone: all that libraries print goes to the log."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lines
