"""What runs on a node of a Ray cluster: one trainer process, and what a search keeps on the node meanwhile.

Arrays, checkpoints and logs of a search without a shared home folder are in one temporary folder of the node. A
checkpoint goes when its trial ended, the folder when the search ended, or with the next search that comes to the node.
"""

import contextlib
import dataclasses
import fcntl
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pneumo_core import files
from pneumo_core.training import checkpoint
from pneumo_core.wire import RunTrial, ScoreRole, Task, TrialDone
from search.executors.local import TRAINER, Limits, LocalExecutor
from search.executors.protocol import Event

PREFIX, LOCK = "pneumo-", ".lock"  # of the folder on each node, and the file in it that its stations hold

Files = Mapping[str, npt.NDArray[np.uint8]]  # the content of files, by name


class Station:
    """The actor: one child process on some node, and what the search keeps there while it runs.

    `folder` is the name of a temporary folder that all stations of a node share.
    """

    def __init__(
        self, environment: Mapping[str, str], command: Sequence[str] | None, limits: Limits, folder: str
    ) -> None:
        self._shared = Path(tempfile.gettempdir()) / folder
        self._checkpoints: dict[int, Path] = {}  # by trial: those that only this node sees
        self._alive = claim(self._shared)
        logs = Path(tempfile.mkdtemp(prefix="logs-", dir=self._shared))
        self._local = LocalExecutor([dict(environment)], logs=logs, command=command or TRAINER, limits=limits)

    def submit(self, task: Task, arrays: Sequence[Any]) -> None:
        """Start a task; the reference in `arrays` is followed only where the node lacks the folder."""
        here = task.arrays if Path(task.arrays).exists() else str(self._from_store(Path(task.arrays).name, arrays[0]))
        task = dataclasses.replace(task, arrays=here)
        if not isinstance(task, ScoreRole) and task.checkpoint and not Path(task.checkpoint).parent.exists():
            self._checkpoints[task.number] = self._shared / "checkpoints" / Path(task.checkpoint).name
            task = dataclasses.replace(task, checkpoint=str(self._checkpoints[task.number]))
            task = dataclasses.replace(task, save=None) if isinstance(task, RunTrial) else task  # it would not be found
        self._local.submit(task)

    def reply(self, number: int, stop: bool) -> None:
        self._local.reply(number, stop=stop)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        events = self._local.poll(timeout_s)
        for event in events:
            if isinstance(event, TrialDone) and event.number in self._checkpoints:
                kept = self._checkpoints.pop(event.number)
                if event.result.stopped != "paused":
                    checkpoint.remove(kept)
        return events

    def leave(self) -> None:
        """Stop, and remove what the search kept on this node."""
        self._local.close()
        shutil.rmtree(self._shared, ignore_errors=True)

    def _from_store(self, name: str, reference: Any) -> Path:
        def write(folder: Path) -> None:
            import ray

            content_of: Files = ray.get(reference)  # views of the store's own memory
            for file, content in content_of.items():
                content.tofile(folder / file)

        return files.build_once(self._shared / "arrays" / name, write, Path.exists)


def claim(folder: Path) -> IO[bytes]:
    """Make a station's folder and remove those of searches that are gone; the file keeps others from removing it."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        mine = (folder / LOCK).open("ab")
        fcntl.flock(mine, fcntl.LOCK_SH)
        if (folder / LOCK).exists():  # else someone took it for left over in this moment
            break
    for other in folder.parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (other / LOCK).open("rb") as lock:  # of another user, or just removed
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other, ignore_errors=True)
    return mine
