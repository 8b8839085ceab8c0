"""A trainer behind the real pipe that "trains" in milliseconds: `python -m tests.search.light_trainer FD`.

Its metrics are a chain of draws from the seed, one an epoch, so that a trial that loses or repeats an epoch comes
to another value. What goes wrong is coded in `DenseSpec.units`: see `Fault`.
"""

import ctypes
import enum
import errno
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pneumo_core.child import OnEpoch, listen, serve
from pneumo_core.errors import TrialFailed
from pneumo_core.result import Stopped, TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.seeds import derive
from pneumo_core.specs import DenseSpec, TrainSpec, TrialSpec
from pneumo_core.training import checkpoint
from pneumo_core.training.checkpoint import Checkpoint, UnusableCheckpoint
from pneumo_core.wire import Channel, Ready, RunTrial

EPOCH_S = "LIGHT_EPOCH_S"  # environment variable: how long an epoch takes
FAULT_EPOCH = 1
HOG = bytearray()


class Fault(enum.IntEnum):
    """What happens in epoch `FAULT_EPOCH`."""

    NONE = 1
    KILLED = 2
    SEGFAULT = 3
    EXIT = 4
    EXCEPTION = 5
    NAN_LOSS = 6
    NAN_METRICS = 7
    OUT_OF_MEMORY = 8
    HANG = 9
    HANG_HOLDING_THE_LOCK = 10  # as native code does that never lets Python's threads run
    CHATTER = 11
    GARBAGE = 12
    SLOW = 13
    HOARD = 14
    DISK_FULL = 15
    WAIT = 16  # for a file `go` in the folder of arrays


def spec(x: float = 1e-3, *, epochs: int = 3, fault: Fault = Fault.NONE, once: bool = False) -> TrialSpec:
    """Return a trial of the light trainer; a fault that comes `once` leaves the second attempt alone."""
    model = DenseSpec(units=(int(fault), int(once) + 1))
    return TrialSpec(model=model, train=TrainSpec(epochs=epochs, learning_rate=x))


def chain(seed: int, n_epochs: int) -> int:
    """Return what a trial of `n_epochs` comes to, however often it was interrupted."""
    state = seed
    for epoch in range(n_epochs):
        state = derive(state, epoch)
    return state


def train(task: RunTrial, on_epoch: OnEpoch) -> TrialResult:
    assert task.checkpoint is not None
    path = Path(task.checkpoint)
    identity = f"{task.spec.digest}-{task.seed}"
    try:
        saved = checkpoint.load(path, identity)
    except UnusableCheckpoint:
        saved = None
    state, first, stopped, stage = saved.state if saved else (task.seed, 0, None, task.stage.index)
    assert stage <= task.stage.index, "a stage was run again after a later one"
    if stage < task.stage.index:
        stopped = None
    history: list[dict[str, float]] = []
    for epoch in range(first, task.spec.train.epochs if stopped is None else 0):
        time.sleep(float(os.environ.get(EPOCH_S, "0.002")))
        if epoch == FAULT_EPOCH:
            misbehave(task, path)
        state = derive(state, epoch)
        history.append({"pruning_metric": value(task.spec, state), "loss": 0.5})
        if on_epoch(epoch, history[-1]):
            stopped = "pruned"
        elif epoch + 1 == task.stage.until_epoch:
            stopped = "paused"
        array = {"state": np.array([state])}
        saved_state = [state, epoch + 1, stopped, task.stage.index]
        checkpoint.save(path, identity, Checkpoint(state=saved_state, arrays=array))
        if stopped:
            break
    last = history[-1] if history else {"pruning_metric": value(task.spec, state)}
    done = result(task.spec, state, last["pruning_metric"], stopped or "completed", tuple(history))
    return replace(done, environment={**done.environment, **seen(Path(task.arrays))})


def seen(arrays: Path) -> dict[str, str]:
    """Return where the arrays were found and what they add up to, nothing where a test has none."""
    if not (arrays / "meta.json").exists():
        return {}
    from pneumo_core.data import preprocess  # takes a while to load

    found = preprocess.open_fit_arrays(arrays)
    return {"arrays": str(arrays), "sum": str(int(found.x_train.sum()) + int(found.x_validation.sum()))}


def value(of: TrialSpec, state: int) -> float:
    """Return a value in [0, 1] that has its best at a learning rate of 0.01, and a little noise."""
    return max(0.0, 0.9 - 0.2 * abs(np.log10(of.train.learning_rate) + 2)) + 0.1 * state / 2**31


def result(
    of: TrialSpec, state: int, reached: float, stopped: Stopped, history: tuple[dict[str, float], ...]
) -> TrialResult:
    reached = float("nan") if of.model.units[0] == Fault.NAN_METRICS else float(reached)
    metrics = Metrics(
        recall=reached, specificity=0.95, fnr=1 - reached, auc=reached, pauc=reached, threshold=state / 2**31
    )
    return TrialResult(
        values=(reached,),
        constraint=0.5 - reached,
        metrics=metrics,
        best_epoch=1,
        n_epochs=len(history),
        n_parameters=state,
        seconds=0.0,
        stopped=stopped,
        history=history,
        scores=(),
        environment={"pid": str(os.getpid()), "share": os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "")},
    )


def misbehave(task: RunTrial, path: Path) -> None:
    fault, mode = task.spec.model.units
    marker = path.with_name(f"{path.name}.misbehaved")
    if mode == 2 and marker.exists():
        return
    marker.write_text("")
    match Fault(fault):
        case Fault.KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.SEGFAULT:
            os.kill(os.getpid(), signal.SIGSEGV)
        case Fault.EXIT:
            print("the last words of a trainer", flush=True)
            os._exit(3)
        case Fault.EXCEPTION:
            raise ZeroDivisionError("a bug")
        case Fault.NAN_LOSS:
            raise TrialFailed("nan_loss", "the loss became nan")
        case Fault.OUT_OF_MEMORY:
            raise MemoryError("no memory left on the device")
        case Fault.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case Fault.HANG:
            time.sleep(600)
        case Fault.HANG_HOLDING_THE_LOCK:
            ctypes.PyDLL(None).sleep(600)
        case Fault.CHATTER:
            for _ in range(20_000):
                print("chatter " * 1000)
        case Fault.GARBAGE:
            os.write(int(sys.argv[1]), b"this is no message\n")
            time.sleep(600)
        case Fault.SLOW:
            time.sleep(0.5)
        case Fault.WAIT:
            while not (Path(task.arrays) / "go").exists():
                time.sleep(0.02)
        case Fault.HOARD:
            HOG.extend(bytes(200 * 2**20))


def main() -> None:
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    inbox = listen(channel)
    channel.send(Ready())
    serve(channel, inbox, train)


if __name__ == "__main__":
    main()
