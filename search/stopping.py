"""Ctrl-C and SIGTERM: the first starts an orderly shutdown of limited time, the second ends at once."""

import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

INTERRUPTED = 130  # exit code
Stopping = Callable[[], AbstractContextManager[Callable[[], bool]]]
ORDERLY_S = 4.0  # a database that hangs must not keep an interrupted search: whatever is left is found dead later


@contextmanager
def polite_stop_in_a_program() -> Iterator[Callable[[], bool]]:
    """Yield the same for a program that continues afterwards, such as a notebook.

    What was asked reaches the program once the search is in order: Ctrl-C raises `KeyboardInterrupt` on leaving, a
    second one at once. Only the main thread receives signals: in any other no stop is ever asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked: list[int] = []
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: types.FrameType | None) -> None:
        asked.append(number)
        restore()

    previous |= {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        restore()
    if asked:
        signal.raise_signal(asked[0])


@contextmanager
def polite_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether someone asked to stop.

    After `ORDERLY_S`, or a second signal, the process ends at once, which loses nothing: trainers die
    with it, and the next launch continues their trials.
    """
    asked = threading.Event()
    timer = threading.Timer(ORDERLY_S, _end_now)
    timer.daemon = True

    def ask(_number: int, _frame: types.FrameType | None) -> None:
        if asked.is_set():
            _end_now()
        asked.set()
        timer.start()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def terminate_like_interrupt() -> None:
    """Let SIGTERM end the process as Ctrl-C does, and SIGINT too where a script's `&` made the shell ignore it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _end_now() -> None:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # a live table hides the cursor
    os._exit(INTERRUPTED)
