"""What commands leave to other processes, done in the test's own: nothing is hidden, and Keras is loaded once."""

import json
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pneumo_core import child, codec
from pneumo_core.bundles import bundle_process
from pneumo_core.bundles.bundle_process import Request
from pneumo_core.data import preprocess
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.progress import Progress, silent
from pneumo_core.wire import EpochDone, Message, Reply, RunTrial, Task, TrialDone
from search import bundle_client, launching
from search.cli import app
from search.executors.devices import Machine
from search.executors.protocol import Event, Executor
from search.finalizing import make
from search.report import gallery
from tests.search.finalizing.made import FakeExecutor, made_up, result

LOCAL_EXECUTOR = launching.local_executor
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'


class Training:
    """An executor whose one trainer is a thread that does what a trainer process does."""

    n_slots = 1

    def __init__(self, environments: Sequence[Mapping[str, str]]) -> None:
        self.environments = environments
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._events: queue.Queue[Event] = queue.Queue()
        self._is_busy = False
        threading.Thread(target=child.serve, args=(self, self._inbox, child.train), daemon=True).start()

    def send(self, message: Event) -> None:
        """Take what the trainer says."""
        self._events.put(message)

    @property
    def n_free(self) -> int:
        return int(not self._is_busy)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        self._is_busy = True
        self._inbox.put(task)

    def reply(self, number: int, *, stop: bool) -> None:
        self._inbox.put(Reply(number=number, stop=stop))

    def cancel(self, number: int) -> None:
        raise AssertionError("a thread cannot be stopped")

    def poll(self, timeout_s: float) -> Sequence[Event]:
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return []
        self._is_busy = isinstance(event, EpochDone)
        return [event]

    def close(self) -> None:
        assert not self._is_busy


def answer(request: Request, progress: Progress = silent) -> Any:
    """Answer what is asked of a bundle as its process does."""
    try:
        asked: Request = codec.from_json(Request, json.loads(json.dumps(codec.to_json(request))))  # type: ignore[arg-type]
        return json.loads(json.dumps(bundle_process.serve(asked, progress)))
    except (PneumoError, OSError) as error:
        raise (UserError if isinstance(error, UserError) else PneumoError)(str(error)) from error


def training(machine: Machine, logs: Path) -> Training:
    """Check a machine as the real executor does, and train in this process."""
    return Training(LOCAL_EXECUTOR(machine, logs).environments)


@contextmanager
def everything() -> Iterator[None]:
    """Let commands train and use bundles in this process."""
    with (
        mock.patch.object(launching, "local_executor", training),
        mock.patch.object(make, "local_executor", training),
        mock.patch.object(bundle_client, "ask", answer),
        mock.patch.object(gallery, "ask", answer),
    ):
        yield


@contextmanager
def undrawn() -> Iterator[None]:
    """Paint pictures, but don't turn them into SVG, which takes 6 s a report: for tests of what is around them."""
    from search.report import svg  # loads Matplotlib

    def painted(paint: svg.Paint, size: tuple[float, float]) -> tuple[svg.Drawing, str]:
        figure = svg.Drawing(figsize=size, layout="constrained")
        paint(figure)
        return figure, EMPTY

    with mock.patch.object(svg, "_render", painted):
        yield


class Answering(FakeExecutor):
    """Trains nothing: a trial's scores are made up from its learning rate."""

    environments = ({"KERAS_BACKEND": "none"},)

    def _answer(self, task: Task) -> Event:
        if isinstance(task, RunTrial) and task.save is None:
            rate = task.spec.train.learning_rate
            scores = made_up(preprocess.open_fit_arrays(Path(task.arrays)).y_validation, rate, task.seed)
            return TrialDone(number=task.number, result=result(task.spec, scores, value=1 - rate / 2))
        return super()._answer(task)


@contextmanager
def answering(patch: pytest.MonkeyPatch, executor: Callable[[], Executor] = Answering) -> Iterator[None]:
    """Let `launch`, `worker` and `finalize` train on `executor()`, and put the handlers of signals back.

    By default nothing is trained.
    """
    patch.setattr(sys, "argv", ["pneumo"])
    patch.setattr(launching, "make_executor", lambda *_, **__: executor())
    patch.setattr(make, "local_executor", lambda *_, **__: executor())
    patch.setattr(make, "_report", lambda *_: None)  # it would load the models, which may be made up
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a command."""
    sys.argv = ["pneumo", *map(str, arguments)]
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err
