"""Jobs on an executor whose answers are kept as files: a second run asks only for what the first didn't finish."""

import json
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pneumo_core import codec, files
from pneumo_core.bundles.bundle import facts_of
from pneumo_core.errors import StorageError
from pneumo_core.progress import Progress, silent
from pneumo_core.training import checkpoint
from pneumo_core.wire import EpochDone, Ready, RunFold, RunTrial, Scored, ScoreRole, Task, TrialDone, TrialError, decode
from search.executors.protocol import Event, Executor
from search.trials import BAD_ARRAYS, CHILD_DIED, DISK_FULL, OUT_OF_MEMORY

Answer = TrialDone | Scored | TrialError

DEATHS = (CHILD_DIED, BAD_ARRAYS)  # after which a job continues from its checkpoint
MAX_DEATHS = 2  # of one job
POLL_S = 0.5


@dataclass
class Jobs:
    """Runs tasks and keeps their answers under `folder`, each in a file named by all that it depends on."""

    executor: Executor
    folder: Path
    program: Mapping[str, Any]  # code, versions and backend: another program's answers are none to this one
    progress: Progress = silent
    mend: Callable[[Path], object] = lambda _arrays: None  # makes damaged arrays anew
    _n_started: int = 0
    _deaths: Counter[str] = field(default_factory=Counter)
    _alone: set[str] = field(default_factory=set)  # ran out of memory beside others

    def answers(self, tasks: Sequence[Task]) -> Generator[tuple[int, Answer], None, None]:
        """Yield (position in `tasks`, answer): kept ones first, then the others as they come.

        Closing the iterator stops what is still running; its checkpoints stay. Raises `StorageError` where the disk of
        a trainer is full.
        """
        missing: deque[int] = deque()
        for position, task in enumerate(tasks):
            kept = self._kept(task)
            if kept is None:
                missing.append(position)
            else:
                yield position, kept
        running: dict[int, int] = {}  # number to position
        n_missing = len(missing)
        try:
            while missing or running:
                while missing and self._n_free(running) > 0:
                    at = missing.popleft()
                    running[self._submit(tasks[at])] = at
                for event in self.executor.poll(POLL_S):
                    if isinstance(event, Ready) or event.number not in running:
                        continue
                    at = running[event.number]
                    answer = self._hear(tasks[at], event)
                    if answer is not None:
                        del running[answer.number]
                        self.progress(_doing(tasks[at]), n_missing - len(missing) - len(running), n_missing)
                        yield at, answer
                    elif isinstance(event, TrialError):
                        del running[event.number]
                        missing.appendleft(at)
        finally:
            for number in running:
                self.executor.cancel(number)

    def identity(self, task: Task) -> str:
        """Return the digest of all that the answer depends on, wherever files lie and whatever number the task has."""
        facts = codec.to_json(task)
        for place in ("number", "checkpoint", "save"):
            facts.pop(place, None)
        facts["arrays"] = Path(task.arrays).name  # the folder of arrays is named by images, split and preprocessing
        if isinstance(task, ScoreRole):
            facts["model"] = facts_of(Path(task.model)).sha256  # one trained again has the same name
        return codec.digest([facts, self.program])

    def _n_free(self, running: Mapping[int, int]) -> int:
        """Return how many tasks may start; one whose end is not handled yet still counts as running."""
        return min(self.executor.n_free, self.executor.n_slots - len(running))

    def _submit(self, task: Task) -> int:
        self._n_started += 1
        alone = self.identity(task) in self._alone
        task = replace(task, number=self._n_started)
        if not isinstance(task, ScoreRole):
            task = replace(task, checkpoint=str(self._checkpoint(task)))
        self._file(task).unlink(missing_ok=True)  # of a model that went missing: not of the one to come
        self.executor.submit(task, alone=alone)
        return self._n_started

    def _hear(self, task: Task, event: Event) -> Answer | None:
        """Return the answer in `event`, kept; None where the task continues, or has to be started again."""
        if isinstance(event, EpochDone):
            self._say_epoch(task, event)
            self.executor.reply(event.number, stop=False)
        elif isinstance(event, TrialError):
            return None if self._may_retry(task, event) else event
        elif isinstance(event, TrialDone | Scored):
            self._keep(task, event)
            return event
        return None

    def _say_epoch(self, task: Task, event: EpochDone) -> None:
        if isinstance(task, RunTrial | RunFold):
            self.progress("epochs of this training, at most", event.epoch + 1, task.spec.train.epochs)

    def _may_retry(self, task: Task, error: TrialError) -> bool:
        """Return whether to start `task` again, as a search does: after a death, and alone where memory ran out.

        A file that is cut short while it is mapped kills who reads it, so arrays are checked after either.
        """
        name = self.identity(task)
        if error.reason == DISK_FULL:  # says nothing about a candidate, and the next would fail like it
            raise StorageError(
                f"the disk is full: {error.message}; finished work is kept: the same command continues once "
                "there is room"
            )
        if error.reason == OUT_OF_MEMORY:
            was_alone = name in self._alone
            self._alone.add(name)
            return not was_alone
        if error.reason not in DEATHS:
            return False
        self._deaths[name] += 1
        self.mend(Path(task.arrays))
        return self._deaths[name] <= MAX_DEATHS

    def _kept(self, task: Task) -> Answer | None:
        """Return the answer kept for `task`; none where there is none, or its model went missing."""
        try:
            answer = decode(self._file(task).read_bytes())
        except (OSError, ValueError):
            return None
        if isinstance(task, RunTrial | RunFold) and task.save and not Path(task.save).is_file():
            return None
        return answer if isinstance(answer, TrialDone | Scored) else None

    def _keep(self, task: Task, answer: TrialDone | Scored) -> None:
        text = json.dumps(codec.to_json(answer))
        files.write_file(self._file(task), lambda path: path.write_text(text, "utf-8"))
        if not isinstance(task, ScoreRole):
            checkpoint.remove(self._checkpoint(task))

    def _file(self, task: Task) -> Path:
        return self.folder / f"{_title(task)}-{self.identity(task)}.json"

    def _checkpoint(self, task: Task) -> Path:
        return self.folder / "checkpoints" / f"{self.identity(task)}.npz"


def _doing(task: Task) -> str:
    """Return what a person is waiting for."""
    if not isinstance(task, ScoreRole):
        return "trainings"
    changed = "" if task.shifts == ("",) else f" under {len(task.shifts)} changes"
    return f"networks that score {task.role} images{changed}"


def _title(task: Task) -> str:
    """Return what a person looks for in the name of a file."""
    if isinstance(task, RunFold):
        return f"{task.spec.digest}-fold{task.index + 1}of{task.n_folds}-seed{task.seed}"
    return f"{task.spec.digest}-final" if isinstance(task, RunTrial) else f"scores-{task.role}"
