"""The messages between coordinator and trainer: JSON lines over one socket, each naming its trial.

Every message carries a trial's number, so that one trainer may serve several trials at once.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pneumo_core import codec
from pneumo_core.data.split import Role
from pneumo_core.result import TrialResult
from pneumo_core.specs import ObjectiveSpec, Stage, TrialSpec

FOLD, N_FOLDS = "fold", "n_folds"  # metrics of a trial over folds: the fold in training, and how many there are
MAX_LINE_BYTES = 64 * 2**20  # a result with a million scores; more than this is not a message


@dataclass(frozen=True, kw_only=True)
class RunTrial:
    """Coordinator to trainer: train this."""

    kind: Literal["run"] = "run"
    number: int
    spec: TrialSpec
    objective: ObjectiveSpec
    seed: int
    arrays: str  # folder of prepared arrays; the trainer opens train and validation only
    checkpoint: str | None = None
    save: str | None = None  # keep the trained model in this `.keras` file
    n_folds: int | None = None  # judge out of so many folds of train and validation; None: on validation
    fold_seed: int = 0  # of the division into folds
    stage: Stage = field(default_factory=Stage)  # `arrays` are those of its image size


@dataclass(frozen=True, kw_only=True)
class RunFold:
    """Coordinator to trainer: train on one fold's part of train and validation, score what it holds out."""

    kind: Literal["run_fold"] = "run_fold"
    number: int
    spec: TrialSpec
    objective: ObjectiveSpec
    seed: int
    arrays: str
    n_folds: int
    index: int  # of the fold held out
    fold_seed: int  # of the division into folds
    checkpoint: str | None = None
    save: str | None = None  # keep the trained model in this `.keras` file


@dataclass(frozen=True, kw_only=True)
class ScoreRole:
    """Coordinator to trainer: score images of a role with a saved model; no trial ever sends this."""

    kind: Literal["score"] = "score"
    number: int
    model: str  # `.keras` file
    arrays: str
    role: Role
    shifts: tuple[str, ...] = ("",)  # names of `shifts.ALL`, "": the images as they are; scored under one after another
    rows: tuple[int, ...] | None = None  # of the role; None: all


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Coordinator to trainer: continue after an epoch, or stop (pruned)."""

    kind: Literal["reply"] = "reply"
    number: int
    stop: bool


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """Trainer to coordinator: an epoch ended; it waits for the `Reply`.

    A trial over folds says so after every fold, with the fold as its `epoch`. Those of a fold's own training come
    as well, with `FOLD` among the metrics: signs of life, whose answer counts for nothing.
    """

    kind: Literal["epoch"] = "epoch"
    number: int
    epoch: int
    metrics: Mapping[str, float]

    @property
    def is_judged(self) -> bool:
        """Return whether the trial may be pruned here."""
        return FOLD not in self.metrics


@dataclass(frozen=True, kw_only=True)
class TrialDone:
    """Trainer to coordinator: the trial ended, pruned or not."""

    kind: Literal["done"] = "done"
    number: int
    result: TrialResult


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Trainer to coordinator: the answer to `RunFold` and `ScoreRole`."""

    kind: Literal["scored"] = "scored"
    number: int
    scores: tuple[float, ...]  # in the order of the rows: of the fold held out, or of the role


@dataclass(frozen=True, kw_only=True)
class TrialError:
    """Trainer (or executor, for a trainer that died) to coordinator: the trial failed."""

    kind: Literal["error"] = "error"
    number: int
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Trainer to coordinator: the framework is loaded."""

    kind: Literal["ready"] = "ready"
    environment: Mapping[str, str] = field(default_factory=dict)


Task = RunTrial | RunFold | ScoreRole
Message = Task | Reply | EpochDone | TrialDone | Scored | TrialError | Ready


@dataclass
class Channel:
    """One end of the socket. `receive` never blocks longer than the socket's own timeout."""

    sock: socket.socket
    _rest: bytes = b""

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message) -> None:
        """Raise `OSError` when the other end is gone."""
        self.sock.sendall(json.dumps(codec.to_json(message)).encode() + b"\n")

    def receive(self) -> Iterator[Message]:
        """Yield the messages of one read. Raises `EOFError` when the other end closed, after the last of them."""
        try:
            data = self.sock.recv(2**20)
        except ConnectionError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise EOFError("a message is longer than any real one")
        for line in lines:
            yield decode(line)

    def close(self) -> None:
        self.sock.close()


def decode(line: bytes) -> Message:
    """Return the message in one JSON line. Raises `ValueError` for anything else."""
    return codec.from_json(Message, codec.parse(line))  # type: ignore[arg-type]
