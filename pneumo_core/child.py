"""The trainer process: loads Keras once, then trains the trials that come over the socket.

Started as `python -m pneumo_core.child FD`. It ends at once when the coordinator
is gone: the reader thread sees the socket close even while a step is running.
"""

import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from pneumo_core import lifeline, quick_keras
from pneumo_core.errors import DataError, PneumoError, StorageError, TrialFailed
from pneumo_core.files import is_full
from pneumo_core.result import TrialResult
from pneumo_core.wire import (
    Channel,
    EpochDone,
    Message,
    Ready,
    Reply,
    RunFold,
    RunTrial,
    Scored,
    ScoreRole,
    Task,
    TrialDone,
    TrialError,
)

OnEpoch = Callable[[int, dict[str, float]], bool]
Trainer = Callable[[RunTrial, OnEpoch], TrialResult]


def main() -> None:
    """Serve trials with the real trainer on the socket whose number is the first argument."""
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    inbox = listen(channel)
    quick_keras.load()  # after the reader watches the coordinator
    from pneumo_core.training.trial import environment

    channel.send(Ready(environment=environment()))
    serve(channel, inbox, train)


def train(task: RunTrial, on_epoch: OnEpoch) -> TrialResult:
    """Run one real trial, and save its model where that is asked for."""
    from pneumo_core.data.shifted import open_fit_arrays
    from pneumo_core.training import cross_validate, refit
    from pneumo_core.training.trial import run_trial

    if task.save:
        return refit.train_and_save(task, on_epoch)
    if task.n_folds is not None:
        return cross_validate.run_folds(task, on_epoch)
    checkpoint = Path(task.checkpoint) if task.checkpoint else None
    arrays = open_fit_arrays(Path(task.arrays), task.objective.shifts)
    return run_trial(task.spec, task.objective, arrays, task.seed, on_epoch, checkpoint, task.stage)


def score(task: RunFold | ScoreRole, on_epoch: OnEpoch) -> tuple[float, ...]:
    """Return the scores that a fold or a saved model gives."""
    from pneumo_core.training import refit

    return refit.fold_scores(task, on_epoch) if isinstance(task, RunFold) else refit.role_scores(task)


def listen(channel: Channel) -> "queue.Queue[Message]":
    """Return the queue that a daemon thread fills; the process exits when the coordinator is gone."""
    lifeline.settle(channel.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    inbox: queue.Queue[Message] = queue.Queue()

    def read() -> None:
        try:
            while True:
                for message in channel.receive():
                    inbox.put(message)
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def serve(channel: Channel, inbox: "queue.Queue[Message]", trainer: Trainer) -> None:
    """Train what comes, one trial after another, for ever."""
    while True:
        task = inbox.get()
        if isinstance(task, Task):
            channel.send(_outcome(task, channel, inbox, trainer))


def _outcome(
    task: Task, channel: Channel, inbox: "queue.Queue[Message]", trainer: Trainer
) -> TrialDone | Scored | TrialError:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        channel.send(EpochDone(number=task.number, epoch=epoch, metrics=metrics))
        reply = inbox.get()
        assert isinstance(reply, Reply)
        assert reply.number == task.number
        return reply.stop

    try:
        if isinstance(task, RunTrial):
            return TrialDone(number=task.number, result=trainer(task, on_epoch))
        return Scored(number=task.number, scores=score(task, on_epoch))
    except TrialFailed as error:
        return TrialError(number=task.number, reason=error.reason, message=str(error))
    except MemoryError as error:
        return TrialError(number=task.number, reason="out_of_memory", message=str(error) or "no memory left")
    except Exception as error:
        traceback.print_exc()
        known = isinstance(error, PneumoError | ValueError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        return TrialError(number=task.number, reason=_reason(error), message=message)


def _reason(error: Exception) -> str:
    """Return the word for an error that the trainer didn't expect."""
    for of in (error, error.__cause__):
        if isinstance(of, OSError) and is_full(of):
            return "disk_full"
        if isinstance(of, DataError):
            return "bad_arrays"
    is_of_the_spec = isinstance(error, PneumoError | ValueError) and not isinstance(error, StorageError)
    return "bad_spec" if is_of_the_spec else "exception"


if __name__ == "__main__":
    main()
