"""Functions run in processes of their own, with limits on memory and time: what a file from outside does there costs
that file alone, be it a crash, a bomb or a loop.

A helper is started when it is first needed, about a third of a second, and kept for the next call. It ends with its
parent: its standard input closes, and its processor time is limited. That time is what counts, and it counts from when
the work begins: on a machine that is busy with other things a good file is read late, not refused.
"""

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, TypeVar

from pneumo_core import secrecy
from pneumo_core.errors import DataError

Result = TypeVar("Result")

APART = "PNEUMO_READ_APART"  # environment variable: every file is read in a helper, plain ones as well
LIMIT_S = 30.0
_WAITING = 20  # times the limit that an answer may take: only who waits for nothing, without working, needs so long
_DYING_S = 1.0
_IDLE_S = 3600.0
_UNLIMITED_BYTES = 2**62
_MOST_OWN_BYTES = 256 * 2**20  # of libraries loaded and what earlier calls left, beside what a call may use
_COMMAND = (sys.executable, "-m", "pneumo_core.helper")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # each reserves memory
_DONE, _REFUSED, _NO_MEMORY, _TOO_LONG = "done", "refused", "no memory", "too long"


class Exhausted(DataError):
    """The work needed more memory than it was given."""


class TooLong(DataError):
    """The work took more time than it was given."""


def call(function: Callable[..., Result], *args: Any, n_bytes: int, limit_s: float = LIMIT_S) -> Result:
    """Return `function(*args)`, a function of a module, worked out in a helper with `n_bytes` of memory to use.

    `limit_s` is of processor time. Raises the `DataError` that it raises, `Exhausted` where it needs more memory,
    `TooLong` where it needs more time, and `DataError` where it crashes or raises anything else.
    """
    worker = _HELPERS.take()
    kind, value = worker.ask((function, args, n_bytes, limit_s), _WAITING * limit_s)
    if worker.alive:
        _HELPERS.put_back(worker)
    if kind == _DONE:
        return value  # type: ignore[no-any-return]
    if kind == _NO_MEMORY:
        raise Exhausted(f"needs more than {n_bytes // 2**20} MiB of memory to be read; export it smaller")
    if kind == _TOO_LONG:
        raise TooLong(f"takes longer than {limit_s:g} s to be read; export it again")
    raise DataError(value)


class _Worker:
    """One helper process, used by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders quote the file
            env=secrecy.environment(_ONE_THREAD),
        )
        self.alive = True

    def ask(self, task: Any, wait_s: float) -> tuple[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(wait_s, self._kill, args=(late,))
        timer.daemon = True
        timer.start()
        try:
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()
            kind, value = pickle.load(self._process.stdout)  # noqa: S301 - our own process
            return str(kind), value
        except (OSError, EOFError, pickle.UnpicklingError):
            return self._end(late)
        except BaseException:  # Ctrl-C: its answer must not be taken for the next one's
            self._end(late)
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Let the process end by itself."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # a request that was not read is flushed here
                assert stream is not None
                stream.close()
        self._process.wait()

    def _kill(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _end(self, late: threading.Event) -> tuple[str, str]:
        """Return why there is no answer."""
        self.alive = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_S)  # its own end says more than ours
        self._process.kill()
        self.close()
        code = self._process.returncode
        if late.is_set() or code == -signal.SIGXCPU:
            return _TOO_LONG, ""
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _REFUSED, f"makes its decoder crash ({name}); export it again"


class _Helpers:
    """The helpers that are idle."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker()

    def put_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        """End all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


_HELPERS = _Helpers()
atexit.register(_HELPERS.close)


def main() -> None:
    """Serve calls until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
    while True:
        try:
            function, args, n_bytes, limit_s = pickle.load(sys.stdin.buffer)  # noqa: S301 - our parent
            _limit(min(_data_bytes(), _MOST_OWN_BYTES) + n_bytes, limit_s)
            _send(answers, _outcome(function, args))
            _limit(_UNLIMITED_BYTES, _IDLE_S)  # the next call's modules are imported before its own limits hold
        except (EOFError, BrokenPipeError):
            return


def _outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return _DONE, function(*args)
    except MemoryError:
        return _NO_MEMORY, ""
    except DataError as error:
        return _REFUSED, str(error)
    except Exception as error:  # whatever a hostile file leads to
        return _REFUSED, f"is damaged ({type(error).__name__}); copy or export it again"


def _send(answers: IO[bytes], outcome: tuple[str, Any]) -> None:
    try:
        whole = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        whole = pickle.dumps((_NO_MEMORY, ""))
    answers.write(whole)
    answers.flush()


def _limit(n_bytes: int, limit_s: float) -> None:
    """Let this process have `n_bytes` of memory, and `limit_s` of processor time from now."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + limit_s) + 1
    for what, most in ((resource.RLIMIT_DATA, n_bytes), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _data_bytes() -> int:
    """Return the memory that this process has now, of the kind that `RLIMIT_DATA` counts."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 256 * 2**20


if __name__ == "__main__":
    from pneumo_core import helper

    helper.main()  # under its own name: `Exhausted` and the rest exist once
