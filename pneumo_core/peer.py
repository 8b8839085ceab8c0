"""Processes of this program that exchange JSON lines over standard input and output, and messages about their end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from typing import IO, Any

from pneumo_core import codec, lifeline

LOG_TAIL_BYTES = 2000
_FAULTS = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE, -signal.SIGABRT}


class Peer:
    """A process that runs `module`; it ends with this object, at the latest with Python.

    What its libraries print goes to a log. With `own_session` the terminal's Ctrl-C does not reach it.
    """

    def __init__(self, module: str, environment: Mapping[str, str], *, own_session: bool = False) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open while the process lives)
        self._process = subprocess.Popen(
            (sys.executable, "-m", module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=own_session,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.end = weakref.finalize(self, _end, self._process, (self._in, self._out, self._log))

    def send(self, message: Any) -> None:
        """Send a message. Raises `EOFError` when the process is gone."""
        try:
            _write(self._in, message)
        except OSError as error:
            raise EOFError from error

    def receive(self) -> Any:
        """Return the next message as JSON-native data. Raises `EOFError` when the process is gone."""
        line = self._out.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    @property
    def crashed(self) -> bool:
        """Whether a fault of native code ended the process, once it ended."""
        return self._process.wait() in _FAULTS

    def obituary(self, who: str) -> str:
        """Return how the process ended, once it did."""
        text = obituary(who, self._process.wait(), self._log)
        self.end()
        return text


class Parent:
    """The other end: the process that started this one. What libraries print here goes to standard error."""

    def __init__(self) -> None:
        self._lines = lifeline.own_output()

    def send(self, message: Any) -> None:
        _write(self._lines, message)

    def receive(self) -> Any:
        """Return the next message as JSON-native data. Raises `EOFError` when the parent is gone."""
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return json.loads(line)


def obituary(who: str, code: int | None, log: IO[bytes] | None = None) -> str:
    """Return how a process ended and the last lines of its log, which often name the cause.

    `code` is its exit code, negative for a signal, None where only its connection closed.
    """
    names = {int(known): known.name for known in signal.Signals}
    how = f"exit code {code}" if code is None or code >= 0 else f"signal {names.get(-code, -code)}"
    said = f"{who} ended with {'a closed connection' if code is None else how}"
    if log is None:
        return said
    log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
    tail = log.read().decode(errors="replace").strip()
    return f"{said}; its last output:\n{tail}" if tail else said


def _write(stream: IO[str], message: Any) -> None:
    stream.write(json.dumps(codec.to_json(message), allow_nan=False) + "\n")
    stream.flush()


def _end(process: subprocess.Popen[str], streams: tuple[IO[Any], ...]) -> None:
    process.kill()
    process.wait()
    for stream in streams:
        with contextlib.suppress(OSError):  # of what was still to be sent
            stream.close()
