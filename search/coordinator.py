"""The loop between Optuna and an executor: ask, submit, report, prune, tell; nothing finished is lost.

Several coordinators may run one study. What must not be done twice (counting the budget, taking a trial,
finding the dead) happens under the storage's one lock.
"""

import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.errors import PneumoError
from pneumo_core.result import TrialResult
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, TrialSpec
from pneumo_core.wire import EpochDone, Ready, RunTrial, TrialDone, TrialError
from search import artifacts, factory, trials
from search.executor import Event, Executor
from search.storage import HEARTBEAT_S, exclusive
from search.view import View
from spaces.base import Parameter
from studies.spec import BudgetSpec, StudySpec

Ending = Literal["budget", "timeout", "interrupted", "failing"]
POLL_S = 0.5
RETRIED = {trials.LOST, trials.INTERRUPTED, trials.CHILD_DIED}


@dataclass
class Running:
    """A trial that the executor works on for this coordinator."""

    trial: optuna.Trial
    spec: TrialSpec
    checkpoint: Path
    reported: set[int] = field(default_factory=set)


@dataclass
class Coordinator:
    """Runs one study on one executor until `run` returns why it ended."""

    study: optuna.Study
    storage: RDBStorage
    spec: StudySpec
    budget: BudgetSpec
    parameters: dict[str, Parameter]
    executor: Executor
    arrays_for: Callable[[DataSpec], Path]
    checkpoints: Path
    artifacts: FileSystemArtifactStore
    view: View
    stop_asked: Callable[[], bool]

    def __post_init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._owner = trials.this_process()
        self._began_s = time.monotonic()
        self._beat_s = -float("inf")
        self._failures: Counter[str] = Counter()  # since the last success, by reason
        self._n_objectives = len(self.study.directions)
        self.last_failure = ""

    def run(self) -> Ending:
        """Run trials until the budget is spent, time is up, someone asks to stop, or all trials fail alike."""
        try:
            while (ending := self._ending()) is None:
                self._beat()
                self._fill()
                for event in self.executor.poll(POLL_S):
                    self._handle(event)
            return ending
        finally:
            self.executor.close()
            self._abandon()

    def _ending(self) -> Ending | None:
        if self.stop_asked():
            return "interrupted"
        if self.budget.timeout_s is not None and time.monotonic() - self._began_s > self.budget.timeout_s:
            return "timeout"
        if any(n >= self.budget.max_same_failures for n in self._failures.values()):
            return "failing"
        if not self._running and trials.spent(self._trials()) >= self.budget.trials:
            return "budget"
        return None

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _fill(self) -> None:
        while len(self._running) < self.executor.n_slots and not self.stop_asked():
            with exclusive(self.storage):
                self._revive()
                known = self._trials()
                n_running = sum(trial.state == TrialState.RUNNING for trial in known)
                if trials.spent(known) + n_running >= self.budget.trials:
                    return
                started = self._start(len(known))
            if started is not None:
                self._submit(started)

    def _revive(self) -> None:
        """Fail the running trials whose coordinator is gone, and queue every failed trial that may go on."""
        for trial in self._trials():
            if trial.state == TrialState.RUNNING and trial.number not in self._running:
                owner = trials.owner_of(trial)
                if owner is None or owner.is_dead_here():
                    trials.fail(self.study, trial.number, trials.LOST, "its coordinator died")
        known = {trial.number: trial for trial in self._trials()}
        for trial in trials.current(known.values()):
            reason = trials.failure_reason(trial)
            if reason in RETRIED and trials.n_deaths(trial, known) <= self.budget.max_retries:
                trials.requeue(self.study, trial)

    def _start(self, n_trials: int) -> Running | None:
        """Take the next trial; return None when it ended at once (a bad point, or a repeated one)."""
        self._seed_sampler(n_trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's heartbeat warns outside `optimize`; ours is `_beat`
            trial = self.study.ask()
            try:
                spec = self.spec.space(trial)
            except Exception as error:
                self._failed(trial.number, "bad_spec", f"{type(error).__name__}: {error}")
                return None
        trials.begin(trial, spec, self._owner)
        if self._repeat(trial, spec):
            return None
        root = trials.root(self.storage.get_trial(trial._trial_id))
        return Running(trial=trial, spec=spec, checkpoint=self.checkpoints / str(root))

    def _seed_sampler(self, n_trials: int) -> None:
        """Make the next suggestion depend on the study's seed and history only, not on who asks or when."""
        steady = factory.is_sequence(self.spec.sampler)
        seed = derive(self.spec.seed, "sampler", 0 if steady else n_trials)
        self.study.sampler = factory.sampler(self.spec.sampler, seed, self.parameters)

    def _repeat(self, trial: optuna.Trial, spec: TrialSpec) -> bool:
        """Finish a trial whose spec another trial already ran with that trial's result; training it again would
        give the same."""
        for twin in self._trials():
            if (
                twin.state in (TrialState.COMPLETE, TrialState.PRUNED)
                and twin.user_attrs.get("spec_digest") == spec.digest
            ):
                result = trials.copy_of(twin)
                for step, value in twin.intermediate_values.items():
                    trial.report(value, step)
                trials.finish(self.study, trial, result, repeats=twin.number)
                self.view.ended(trial.number, f"repeats trial {twin.number}")
                return True
        return False

    def _submit(self, run: Running) -> None:
        number = run.trial.number
        self._running[number] = run
        try:
            arrays = self.arrays_for(run.spec.data)
        except PneumoError as error:
            self._failed(number, "no_arrays", str(error))
            raise
        self.view.started(number, run.spec)
        self.executor.submit(
            RunTrial(
                number=number,
                spec=run.spec,
                objective=self.spec.objective,
                seed=derive(self.spec.seed, run.spec.digest, 0),
                arrays=str(arrays),
                checkpoint=str(run.checkpoint),
            )
        )

    def _handle(self, event: Event) -> None:
        if isinstance(event, Ready) or event.number not in self._running:
            return
        if self._taken_over(event.number):
            self.executor.cancel(event.number)
            del self._running[event.number]
        elif isinstance(event, EpochDone):
            self._epoch(self._running[event.number], event)
        elif isinstance(event, TrialDone):
            self._done(self._running[event.number], event.result)
        elif isinstance(event, TrialError):
            self._failed(event.number, event.reason, event.message)

    def _taken_over(self, number: int) -> bool:
        """Return whether another coordinator took this one for dead and ended the trial."""
        trial_id = self._running[number].trial._trial_id
        return self.storage.get_trial(trial_id).state != TrialState.RUNNING

    def _epoch(self, run: Running, event: EpochDone) -> None:
        self.view.epoch(event.number, event.epoch, event.metrics)
        stop = self._n_objectives == 1 and self._should_prune(run, event)
        self.executor.reply(event.number, stop=stop)

    def _should_prune(self, run: Running, event: EpochDone) -> bool:
        if event.epoch not in run.reported:
            run.reported.add(event.epoch)
            run.trial.report(event.metrics["pruning_metric"], event.epoch)
        return bool(run.trial.should_prune())  # some pruners return a NumPy bool

    def _done(self, run: Running, result: TrialResult) -> None:
        artifacts.save_result(self.artifacts, run.trial, result)
        trials.finish(self.study, run.trial, result)
        del self._running[run.trial.number]
        self._failures.clear()
        shutil.rmtree(run.checkpoint, ignore_errors=True)
        self.view.finished(run.trial.number, result)

    def _failed(self, number: int, reason: str, message: str) -> None:
        trials.fail(self.study, number, reason, message)
        run = self._running.pop(number, None)
        if run is not None and reason not in RETRIED:
            shutil.rmtree(run.checkpoint, ignore_errors=True)
        self._failures[reason] += 1
        self.last_failure = message
        self.view.failed(number, reason, message)

    def _beat(self) -> None:
        """Say that the running trials are alive, and fail those of machines that fell silent."""
        if time.monotonic() - self._beat_s < HEARTBEAT_S:
            return
        self._beat_s = time.monotonic()
        for run in self._running.values():
            self.storage.record_heartbeat(run.trial._trial_id)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)

    def _abandon(self) -> None:
        """Leave the unfinished trials so that the next launch continues them from their checkpoints."""
        for number in list(self._running):
            trials.fail(self.study, number, trials.INTERRUPTED, "stopped before it ended")
        self._running.clear()
