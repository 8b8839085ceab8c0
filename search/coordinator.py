"""The loop between Optuna and an executor: ask, submit, report, prune, tell; nothing finished is lost.

Several coordinators may run one study. What must not be done twice (counting the budget, taking a trial,
finding the dead) happens under the storage's one lock, in steps that leave the study in order wherever a
coordinator is killed between them.
"""

import contextlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pneumo_core.errors import PneumoError, StorageError
from pneumo_core.files import storage_errors
from pneumo_core.result import TrialResult
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, TrialSpec
from pneumo_core.training import checkpoint
from pneumo_core.wire import EpochDone, Ready, RunTrial, TrialDone, TrialError
from search import diagnosis, factory, own_metrics, promotion, records, trials
from search.executors.protocol import Event, Executor
from search.kept import KeptNetworks
from search.running import FATAL, Refusal, Running, draw
from search.storage import artifacts
from search.storage.database import exclusively
from search.storage.locks import RETRY_S, LockHeld, Wait
from search.storage.owner import GRACE_S, HEARTBEAT_S, Watch, living, owner_of, this_process
from search.storage.patience import PatientStorage
from search.stored import undamaged
from search.stored_trials import Reader
from search.study import stored_budget
from search.trials import Ledger
from search.watching.views import View
from spaces.base import Parameter
from studies import preferences
from studies.spec import BudgetSpec, StudySpec, fold_seed

Ending = Literal["budget", "stale", "timeout", "interrupted", "failing"]
Taken = Literal["nothing to take", "ended at once"]
POLL_S = 0.5
UNBUILDABLE_FACTOR = 8  # points that can't be built take no time: so many times `max_same_failures` end a search
DISK_PAUSE_S = 30.0  # a coordinator whose disk is full leaves what it could not train to others for so long


@dataclass
class Coordinator:
    """Runs one study on one executor until `run` returns why it ended."""

    study: optuna.Study
    storage: PatientStorage
    spec: StudySpec
    budget: BudgetSpec
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
        self._watch = Watch(grace_s=self.grace_s)
        self._began_s = time.monotonic()
        self._beat_s = self._began_s
        self._failures: Counter[str] = Counter()  # for good, since the last success, by reason
        self._paused_until_s = self._began_s  # takes no trial before
        self._wait_s = POLL_S
        self._lock_wait = Wait()
        self._read = Reader(self.study)
        self._shared = IntersectionSearchSpace(include_pruned=True)  # kept: finding it reads every trial
        self._n_objectives = len(self.study.directions)
        self._best: int | None = None  # number of the best feasible trial
        self.diagnosis = ""

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
            ledger = self._ledger()
            if not (ledger.running or ledger.waiting or ledger.retriable):
                shutil.rmtree(self.checkpoints, ignore_errors=True)

        with contextlib.suppress(LockHeld):  # they do no harm
            exclusively(self.storage, tidy, wait=False)

    def _ending(self) -> Ending | None:
        if self.stop_asked():
            return "interrupted"
        if self.budget.timeout_s is not None and time.monotonic() - self._began_s > self.budget.timeout_s:
            return "timeout"
        if self.diagnosis:
            return "failing"
        if self._running:
            return None
        ledger = self._ledger()
        if self._promotable(ledger) is not None:
            return None
        if len(ledger.finished) >= self.budget.trials:
            return None if self._budget_grew() else "budget"
        return "stale" if self._is_stale(ledger) and not ledger.running and not ledger.waiting else None

    def _budget_grew(self) -> bool:
        """Take over the budget of trials of the last launch, if that is larger; return whether it is."""
        n_trials = stored_budget(self.study).trials
        if n_trials <= self.budget.trials:
            return False
        self.budget = replace(self.budget, trials=n_trials)
        return True

    def _is_stale(self, ledger: Ledger) -> bool:
        """Return whether the last `patience_trials` trials to finish brought nothing better than an earlier one."""
        patience, best = self.budget.patience_trials, records.best_feasible(ledger.finished)
        if patience is None or best is None:
            return False
        n_since = len(ledger.finished) - int(best.user_attrs.get(trials.N_FINISHED, best.number + 1))
        return n_since >= patience

    def _trials(self) -> list[FrozenTrial]:
        return self._read().ours

    def _ledger(self) -> Ledger:
        return trials.ledger(self._trials(), self.budget.max_retries)

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
                taken = exclusively(self.storage, self._take, wait=False)
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

    def _take(self) -> Running | Taken:
        """Take the next trial. To be called under the lock, and again from the start if the lock was lost."""
        ledger = self._promote(self._revive())
        if ledger.n_taken >= self.budget.trials or (self._is_stale(ledger) and not ledger.waiting):
            return "nothing to take"
        if self._must_wait(ledger.waiting):
            return "nothing to take"
        try:
            return self._start(ledger.waiting)
        except UpdateFinishedTrialError:  # the lock was lost, and the trial with it
            return "ended at once"

    def _must_wait(self, waiting: Sequence[FrozenTrial]) -> bool:
        """Return whether a deterministic study's next trial, which must be alone, has to wait until nothing runs.

        In the executor it would wait for those that run, and they in their round for its first epoch.
        """
        return self.spec.deterministic and bool(self._running and waiting) and trials.is_alone(waiting[0])

    def _revive(self) -> Ledger:
        """Fail the running trials whose coordinator is gone, and queue every failed trial that may continue."""
        ledger = self._ledger()
        if lost := [trial for trial in ledger.running if self._is_lost(trial)]:
            for trial in lost:
                trials.fail(self.study, trial.number, trials.LOST, "its coordinator died")
            ledger = self._ledger()
        for trial in ledger.retriable:
            trials.requeue(self.study, trial)
        return self._ledger() if ledger.retriable else ledger

    def _promote(self, ledger: Ledger) -> Ledger:
        """Queue the next stage of a paused trial where one is due; what is queued already comes first."""
        number = self._promotable(ledger)
        if number is None:
            return ledger
        trials.promote(self.study, next(trial for trial in ledger.every if trial.number == number))
        return self._ledger()

    def _promotable(self, ledger: Ledger) -> int | None:
        """Return the number of the paused trial that should continue next."""
        if self.spec.fidelity is None or ledger.waiting or ledger.n_taken > self.budget.trials:
            return None
        begins_more = ledger.n_taken < self.budget.trials and not self._is_stale(ledger)
        return promotion.of_study(ledger, self.spec.fidelity, begins_more=begins_more)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        if trial.number in self._running:
            return False
        owner = owner_of(trial)
        left_by_me = owner is not None and owner.is_same(self._owner)  # taken when the lock was lost
        return left_by_me or self._watch.is_dead(trial)

    def _start(self, waiting: Sequence[FrozenTrial]) -> Running | Taken:
        """Start the first waiting trial, else a new one. A bad point or a repeated one ends at once."""
        self._seed_sampler(waiting)
        trial = self._go_on(waiting[0]) if waiting else self._ask()
        frozen = self.storage.get_trial(trial._trial_id)
        point = draw(self.spec, trial, trials.stage(frozen))
        if isinstance(point, Refusal):
            if point.reason == FATAL:
                self.diagnosis = point.message
            self._failed(trial.number, point.reason, point.message)
            return "ended at once"
        trials.begin(trial, point.spec, self._owner, preferences.of(point.spec, self.spec.prefer))
        if point.stage.index == 0 and self._repeat(trial, point.spec):
            return "ended at once"
        run = Running(
            trial=trial,
            point=point,
            checkpoint=self.checkpoints / str(trials.root(frozen)),
            alone=trials.is_alone(frozen),
            takes_reports=self._n_objectives == 1,
        )
        run.replay(trials.history(frozen), self._trials())
        return run

    def _ask(self) -> optuna.Trial:
        with undamaged(self.study.study_name):  # the sampler reads all trials, those of other programs too
            return self.study.ask()

    def _go_on(self, waiting: FrozenTrial) -> optuna.Trial:
        if not self.storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING):
            raise UpdateFinishedTrialError(f"trial {waiting.number} was taken by another coordinator")
        self.view.ended(trials.history(waiting)[-1], f"continues as trial {waiting.number}")
        return optuna.Trial(self.study, waiting._trial_id)

    def _seed_sampler(self, waiting: Sequence[FrozenTrial]) -> None:
        """Make the next suggestion depend on the study's seed and history only, not on who asks or when.

        A continued trial lacks parameters too, where it was lost before they were drawn: it draws as it would have.
        """
        until = trials.root(waiting[0]) if waiting else math.inf
        n_trials = sum(
            t.number < until and not trials.history(t) for t in self._trials()
        )  # a continued one counts once
        seed, steady = (derive(self.spec.seed, "sampler", n) for n in (n_trials, 0))
        self.study.sampler = factory.sampler(
            self.spec.sampler, seed, self.parameters, self._shared, sequence_seed=steady
        )

    def _repeat(self, trial: optuna.Trial, spec: TrialSpec) -> bool:
        """Finish a trial whose spec another trial already ran with that trial's result; training it again would
        give the same."""
        twin = trials.twin(self._trials(), spec.digest)
        if twin is None:
            return False
        result = trials.copy_of(twin)
        for step, value in twin.intermediate_values.items():
            trial.report(value, step)
        own = own_metrics.attributes_of(twin.user_attrs)
        trials.finish(self.study, trial, result, repeats=twin.number, **own)
        self._failures.clear()
        self.view.ended(trial.number, f"repeats trial {twin.number}")
        return True

    def _submit(self, run: Running) -> None:
        number, point = run.trial.number, run.point
        self._running[number] = run
        try:
            arrays = self.arrays_for(point.data)
        except PneumoError as error:
            self._failed(number, "no_arrays", str(error))
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
                self._failed(event.number, event.reason, event.message)
        except UpdateFinishedTrialError:
            self._lose(run)

    def _epoch(self, run: Running, event: EpochDone) -> None:
        self.view.epoch(event.number, event.epoch, event.metrics)
        stop = event.is_judged and run.judge(event)
        self.executor.reply(event.number, stop=stop)

    def _done(self, run: Running, result: TrialResult) -> None:
        if not all(map(math.isfinite, (*result.values, result.constraint))):
            self._failed(run.trial.number, "nan_metrics", f"values {result.values}, constraint {result.constraint}")
            return
        extra = self._own_metrics(run, result)
        if run.point.stage.until_epoch is not None and result.stopped != "pruned":
            result = replace(result, stopped="paused")  # also where it stopped early: on larger images it may continue
            extra |= {trials.RUNG: run.point.stage.index, trials.IMAGE_SIZE_PX: run.point.data.image_size_px}
        with storage_errors(self.checkpoints.parent.parent):  # the home, which someone may have moved
            artifacts.save_result(self.artifacts, run.trial, result)
        extra[trials.N_FINISHED] = len(self._ledger().finished) + 1
        trials.finish(self.study, run.trial, result, **extra)
        del self._running[run.trial.number]
        self._failures.clear()
        if result.stopped != "paused":
            checkpoint.remove(run.checkpoint)
            self.networks.tidy(self._ledger().finished)
        self.view.finished(run.trial.number, result)
        self._tell_best()

    def _best_number(self) -> int | None:
        best = records.best_feasible(self._ledger().finished)
        return best.number if best else None

    def _tell_best(self) -> None:
        best = records.best_feasible(self._ledger().finished)
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

    def _failed(self, number: int, reason: str, message: str) -> None:
        trials.fail(self.study, number, reason, message)
        run = self._running.pop(number, None)
        if run is not None and reason not in {*trials.RETRIED, trials.OUT_OF_MEMORY}:
            checkpoint.remove(run.checkpoint)
        if run is not None and reason in (trials.BAD_ARRAYS, trials.CHILD_DIED):
            self.forget_arrays(run.point.data)  # a file that is cut short while it is mapped kills who reads it
        if reason == trials.DISK_FULL:
            self._paused_until_s = time.monotonic() + self.disk_pause_s
        if not self._will_retry(number):
            self._failures[reason] += 1
        limit = self.budget.max_same_failures * (UNBUILDABLE_FACTOR if reason in trials.UNBUILDABLE else 1)
        if self._failures[reason] >= limit:
            self.diagnosis = diagnosis.of_failures(reason, self._failures[reason], message)
        self.view.failed(number, reason, message)

    def _will_retry(self, number: int) -> bool:
        known = {trial.number: trial for trial in self._trials()}
        return trials.may_retry(known[number], known, self.budget.max_retries)

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
                exclusively(self.storage, self._revive, wait=False)
        self._running.clear()
