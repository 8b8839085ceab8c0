"""Commands that run in the test's own process, on an executor of the test's own, so that no error is hidden."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pneumo_core.data import preprocess
from pneumo_core.wire import RunTrial, Task, TrialDone
from search import launching
from search.cli import app
from search.executors.protocol import Event, Executor
from search.finalizing import make
from tests.search.finalizing.made import FakeExecutor, made_up, result


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
