"""The loop between Optuna and an executor: submit, report, prune, tell; nothing finished is lost.

Which trial is next is decided in `search.taking`.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from pneumo_core.errors import PneumoError, StorageError
from pneumo_core.files import storage_errors
from pneumo_core.result import TrialResult
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec
from pneumo_core.training import checkpoint
from pneumo_core.wire import EpochDone, Ready, RunTrial, TrialDone, TrialError
from search import own_metrics, records, trials
from search.diagnosis import Failures
from search.executors.protocol import Event, Executor
from search.kept import KeptNetworks
from search.running import Running
from search.storage import artifacts
from search.storage.database import exclusively
from search.storage.locks import RETRY_S, LockHeld, Wait
from search.storage.owner import GRACE_S, HEARTBEAT_S, Watch, living, this_process
from search.storage.patience import PatientStorage
from search.taking import Queue
from search.watching.views import View
from spaces.base import Parameter
from studies.spec import StudySpec, fold_seed

Ending = Literal["budget", "stale", "timeout", "interrupted", "failing"]
POLL_S = 0.5
DISK_PAUSE_S = 30.0  # a coordinator whose disk is full leaves what it could not train to others for so long


@dataclass
class Coordinator:
    """Runs one study on one executor until `run` returns why it ended."""

    study: optuna.Study
    storage: PatientStorage
    spec: StudySpec
    parameters: Mapping[str, Parameter]
    executor: Executor
    arrays_for: Callable[[DataSpec], Path]
    checkpoints: Path
    networks: KeptNetworks
    artifacts: FileSystemArtifactStore
    view: View
    stop_asked: Callable[[], bool]
    forget_arrays: Callable[[DataSpec], None] = lambda _data: None  # `arrays_for` then checks them again
    heartbeat_s: float = HEARTBEAT_S
    grace_s: float = GRACE_S
    disk_pause_s: float = DISK_PAUSE_S

    def __post_init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._held: dict[int, Event] = {}  # deterministic: events that wait for those of the other trials
        self._owner = this_process()
        self._failures = Failures(self.spec.budget.max_same_failures)
        self.queue = Queue(
            study=self.study,
            storage=self.storage,
            spec=self.spec,
            parameters=self.parameters,
            checkpoints=self.checkpoints,
            view=self.view,
            failures=self._failures,
            owner=self._owner,
            watch=Watch(grace_s=self.grace_s),
        )
        self._began_s = time.monotonic()
        self._beat_s = self._began_s
        self._paused_until_s = self._began_s  # takes no trial before
        self._wait_s = POLL_S
        self._lock_wait = Wait()
        self._best: int | None = None  # number of the best feasible trial

    @property
    def diagnosis(self) -> str:
        """Why the search ended as "failing"; "" otherwise."""
        return self._failures.diagnosis

    def run(self) -> Ending:
        """Run trials until the budget is spent, time is up, someone asks to stop, or all trials fail alike."""
        self._began_s = time.monotonic()
        self._best = self._best_number()
        self.view.study_began(self.study, self.spec)
        why = "error"
        with living(self._owner):
            try:
                while (ending := self._ending()) is None:
                    self._beat()
                    self._fill()
                    for event in self._in_order(self.executor.poll(self._wait_s)):
                        self._handle(event)
                why = ending
            finally:
                try:
                    self.executor.close()
                finally:
                    self._abandon()
                    self.view.study_ended(why)
        if ending == "budget":
            self._tidy()
        return ending

    def _tidy(self) -> None:
        """Remove the checkpoints of trials that failed for good or stay paused, once no trial is left to run."""

        def tidy() -> None:
            ledger = self.queue.ledger()
            if not (ledger.running or ledger.waiting or ledger.retriable):
                shutil.rmtree(self.checkpoints, ignore_errors=True)

        with contextlib.suppress(LockHeld):  # they do no harm
            exclusively(self.storage, tidy, wait=False)

    def _ending(self) -> Ending | None:
        if self.stop_asked():
            return "interrupted"
        if self.spec.budget.timeout_s is not None and time.monotonic() - self._began_s > self.spec.budget.timeout_s:
            return "timeout"
        if self.diagnosis:
            return "failing"
        return None if self._running else self.queue.ending()

    def _in_order(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events to handle now: as they come or, for a deterministic study, in rounds.

        A round has one event of every running trial, in the order of their numbers. A trial waits for its answer
        after each epoch, so that all that the sampler and the pruner see no longer depends on which is faster.
        """
        if not self.spec.deterministic:
            return events
        self._held |= {event.number: event for event in events if not isinstance(event, Ready)}
        if self._running.keys() - self._held.keys():
            return []
        held, self._held = self._held, {}
        return [held[number] for number in sorted(held)]

    def _fill(self) -> None:
        while self._n_free() > 0 and not self.stop_asked() and not self.diagnosis:
            try:
                taken = exclusively(self.storage, partial(self.queue.take, self._running), wait=False)
            except LockHeld as error:  # the running trials continue meanwhile
                self._lock_wait.held(error)
                return
            self._lock_wait.ended()
            self._wait_s = 0.0 if taken == "ended at once" else POLL_S
            if not isinstance(taken, Running):
                return
            self._submit(taken)
            time.sleep(2 * RETRY_S)  # another that polls for the lock has it in between, however long a draw takes

    def _n_free(self) -> int:
        """Return how many trials may start; one whose end is not handled yet still counts as running.

        In the middle of a round none may: which of the others ended by then depends on which is faster.
        """
        if self._held or time.monotonic() < self._paused_until_s:
            return 0
        return min(self.executor.n_free, self.executor.n_slots - len(self._running))

    def _submit(self, run: Running) -> None:
        number, point = run.trial.number, run.point
        self._running[number] = run
        try:
            arrays = self.arrays_for(point.data)
        except PneumoError as error:
            self._failed(run, "no_arrays", str(error))
            raise
        self.view.started(number, replace(point.spec, data=point.data))
        is_whole = self.spec.folds is None and point.stage.until_epoch is None  # it ends in one network for a bundle
        task = RunTrial(
            number=number,
            spec=point.spec,
            objective=self.spec.objective,
            seed=derive(self.spec.seed, point.spec.digest, 0),
            arrays=str(arrays),
            checkpoint=str(run.checkpoint),
            save=str(self.networks.file(point.spec.digest).absolute()) if is_whole else None,
            n_folds=self.spec.folds,
            fold_seed=fold_seed(self.spec),
            stage=point.stage,
        )
        self.executor.submit(task, alone=run.alone)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Ready) or event.number not in self._running:
            return
        run = self._running[event.number]
        try:
            if isinstance(event, EpochDone):
                self._epoch(run, event)
            elif isinstance(event, TrialDone):
                self._done(run, event.result)
            elif isinstance(event, TrialError):
                self._failed(run, event.reason, event.message)
        except UpdateFinishedTrialError:
            self._lose(run)

    def _epoch(self, run: Running, event: EpochDone) -> None:
        self.view.epoch(event.number, event.epoch, event.metrics)
        stop = event.is_judged and run.judge(event)
        self.executor.reply(event.number, stop=stop)

    def _done(self, run: Running, result: TrialResult) -> None:
        if not all(map(math.isfinite, (*result.values, result.constraint))):
            self._failed(run, "nan_metrics", f"values {result.values}, constraint {result.constraint}")
            return
        extra = self._own_metrics(run, result)
        if run.point.stage.until_epoch is not None and result.stopped != "pruned":
            result = replace(result, stopped="paused")  # also where it stopped early: on larger images it may continue
            extra |= {trials.RUNG: run.point.stage.index, trials.IMAGE_SIZE_PX: run.point.data.image_size_px}
        with storage_errors(self.checkpoints.parent.parent):  # the home, which someone may have moved
            artifacts.save_result(self.artifacts, run.trial, result)
        extra[trials.N_FINISHED] = len(self.queue.ledger().finished) + 1
        trials.finish(self.study, run.trial, result, **extra)
        del self._running[run.trial.number]
        self._failures.clear()
        finished = self.queue.ledger().finished
        if result.stopped != "paused":
            checkpoint.remove(run.checkpoint)
            self.networks.tidy(finished)
        self.view.finished(run.trial.number, result)
        self._tell_best(finished)

    def _best_number(self) -> int | None:
        best = records.best_feasible(self.queue.ledger().finished)
        return best.number if best else None

    def _tell_best(self, finished: list[FrozenTrial]) -> None:
        best = records.best_feasible(finished)
        if best is not None and best.number != self._best:
            self._best = best.number
            self.view.new_best(records.describe(best))

    def _own_metrics(self, run: Running, result: TrialResult) -> dict[str, Any]:
        if not self.spec.metrics:
            return {}
        arrays = self.arrays_for(run.point.spec.data)
        return own_metrics.measure(self.spec.metrics, arrays, self.spec.folds, fold_seed(self.spec), result)

    def _lose(self, run: Running) -> None:
        """Leave a trial to the coordinator that took this one for dead and queued the trial again."""
        number = run.trial.number
        self.executor.cancel(number)
        del self._running[number]
        self.view.ended(number, "continues elsewhere: this coordinator was silent for too long")

    def _failed(self, run: Running, reason: str, message: str) -> None:
        number = run.trial.number
        trials.fail(self.study, number, reason, message)
        del self._running[number]
        if reason not in {*trials.RETRIED, trials.OUT_OF_MEMORY}:
            checkpoint.remove(run.checkpoint)
        if reason in (trials.BAD_ARRAYS, trials.CHILD_DIED):
            self.forget_arrays(run.point.data)  # a file that is cut short while it is mapped kills who reads it
        if reason == trials.DISK_FULL:
            self._paused_until_s = time.monotonic() + self.disk_pause_s
        if not self.queue.will_retry(number):
            self._failures.add(reason, message)
        self.view.failed(number, reason, message)

    def _beat(self) -> None:
        """Give a sign of life for the running trials."""
        if time.monotonic() - self._beat_s < self.heartbeat_s:
            return
        self._beat_s = time.monotonic()
        self._owner = replace(self._owner, beats=self._owner.beats + 1)
        for run in list(self._running.values()):
            try:
                trials.beat(run.trial, self._owner)
            except UpdateFinishedTrialError:
                self._lose(run)

    def _abandon(self) -> None:
        """Queue the unfinished trials, so that the next coordinator continues them from their checkpoints.

        A database that is gone is no reason to hide why it went: the next launch finds the trials dead.
        """
        with contextlib.suppress(StorageInternalError, SQLAlchemyError, StorageError), self.storage.impatient():
            for number in list(self._running):
                trials.fail(self.study, number, trials.INTERRUPTED, "stopped before it ended")
            if self._running:
                exclusively(self.storage, partial(self.queue.revive, self._running), wait=False)
        self._running.clear()
