"""The process that draws from a KerasTuner hypermodel, as a space sees it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from pneumo_core import codec, secrecy
from pneumo_core.errors import StudyError
from pneumo_core.tuner.dialogue import Answer, Draw, Open, Reply, Request, Scalar

COMMAND = (sys.executable, "-m", "pneumo_core.tuner.process")
QUIET = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}  # it only builds
LOG_TAIL_BYTES = 2000


@dataclass
class Helper:
    """Started when first needed, and again where it ended; it ends with this object, at the latest with Python."""

    opened: Open

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    def draw(self, answers: tuple[Scalar, ...]) -> Reply:
        """Begin to build a model; the first questions have these answers."""
        return self._asked(Draw(answers=answers), answers)

    def answer(self, answers: tuple[Scalar, ...]) -> Reply:
        """Answer the last question with the last of `answers`, which are all since the draw began."""
        return self._asked(Answer(value=answers[-1]), answers)

    def _asked(self, request: Request, answers: tuple[Scalar, ...]) -> Reply:
        if self._process is not None:
            try:
                return self._exchange(self._process, request)
            except (OSError, EOFError):  # it ended for want of work, or was killed: once more in a fresh one
                self._end()
        try:
            return self._exchange(self._started(), Draw(answers=answers))
        except (OSError, EOFError) as error:
            raise StudyError(self._diagnosis()) from error

    def _started(self) -> subprocess.Popen[str]:
        log = self._log = tempfile.TemporaryFile()  # noqa: SIM115  (kept while the process lives)
        process = self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=secrecy.environment(QUIET),
            start_new_session=True,  # the terminal's Ctrl-C is not for it
        )
        self._end = weakref.finalize(self, _end, process, log)
        assert process.stdin is not None
        _send(process.stdin, self.opened)
        return process

    def _exchange(self, process: subprocess.Popen[str], request: Request) -> Reply:
        assert process.stdin is not None
        assert process.stdout is not None
        _send(process.stdin, request)
        line = process.stdout.readline()
        if not line:
            raise EOFError
        return codec.from_json(Reply, json.loads(line))  # type: ignore[arg-type]

    def _diagnosis(self) -> str:
        assert self._process is not None
        assert self._log is not None
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        tail = self._log.read().decode(errors="replace").strip()
        self._end()
        self._process = None
        return f"the process that builds {self.opened.attribute} ended with {how}; its last output:\n{tail}"


def _send(stream: IO[str], request: Request) -> None:
    stream.write(json.dumps(codec.to_json(request)) + "\n")
    stream.flush()


def _end(process: subprocess.Popen[str], log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        assert stream is not None
        with contextlib.suppress(OSError):  # of what was still to be sent
            stream.close()
