"""Which trial a coordinator runs next: one to continue, else a new one, while the budget lasts.

Several coordinators may run one study. What must not be done twice (counting the budget, taking a trial, finding the
dead) happens under the storage's one lock, in steps that leave the study in order wherever a coordinator is killed
between them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.seeds import derive
from pneumo_core.specs import TrialSpec
from search import factory, own_metrics, promotion, records, trials
from search.diagnosis import Failures
from search.running import FATAL, Refusal, Running, draw
from search.storage.owner import Owner, Watch, owner_of
from search.storage.patience import PatientStorage
from search.stored import undamaged
from search.stored_trials import Reader
from search.study import stored_budget
from search.trials import Ledger
from search.watching.views import View
from spaces.base import Parameter
from studies import preferences
from studies.spec import StudySpec

Taken = Literal["nothing to take", "ended at once"]


@dataclass
class Queue:
    """The trials of a study, as the coordinator `owner` takes them. `running` are always the numbers of its own."""

    study: optuna.Study
    storage: PatientStorage
    spec: StudySpec
    parameters: Mapping[str, Parameter]
    checkpoints: Path
    view: View
    failures: Failures
    owner: Owner
    watch: Watch

    def __post_init__(self) -> None:
        self.budget = self.spec.budget
        self._read = Reader(self.study)
        self._shared = IntersectionSearchSpace(include_pruned=True)  # kept: finding it reads every trial

    def trials(self) -> list[FrozenTrial]:
        return self._read().ours

    def ledger(self) -> Ledger:
        return trials.ledger(self.trials(), self.budget.max_retries)

    def will_retry(self, number: int) -> bool:
        """Return whether the failed trial of that number is to run again."""
        known = {trial.number: trial for trial in self.trials()}
        return trials.may_retry(known[number], known, self.budget.max_retries)

    def ending(self) -> Literal["budget", "stale"] | None:
        """Return why nothing is left to take once no trial of this coordinator runs, None while something is."""
        ledger = self.ledger()
        if self._promotable(ledger) is not None:
            return None
        if len(ledger.finished) >= self.budget.trials:
            return None if self._budget_grew() else "budget"
        return "stale" if self.is_stale(ledger) and not ledger.running and not ledger.waiting else None

    def is_stale(self, ledger: Ledger) -> bool:
        """Return whether none of the last `patience_trials` trials to finish was better than an earlier one."""
        patience, best = self.budget.patience_trials, records.best_feasible(ledger.finished)
        if patience is None or best is None:
            return False
        n_since = len(ledger.finished) - int(best.user_attrs.get(trials.N_FINISHED, best.number + 1))
        return n_since >= patience

    def take(self, running: Collection[int]) -> Running | Taken:
        """Take the next trial. To be called under the lock, and again from the start if the lock was lost."""
        ledger = self._promote(self.revive(running))
        if ledger.n_taken >= self.budget.trials or (self.is_stale(ledger) and not ledger.waiting):
            return "nothing to take"
        if self._must_wait(running, ledger.waiting):
            return "nothing to take"
        try:
            return self._start(ledger)
        except UpdateFinishedTrialError:  # the lock was lost, and the trial with it
            return "ended at once"

    def revive(self, running: Collection[int]) -> Ledger:
        """Fail the trials whose coordinator is gone, and queue every failed trial that may continue, under the lock."""
        ledger = self.ledger()
        if lost := [trial for trial in ledger.running if trial.number not in running and self._is_lost(trial)]:
            for trial in lost:
                trials.fail(self.study, trial.number, trials.LOST, "its coordinator died")
            ledger = self.ledger()
        for trial in ledger.retriable:
            trials.requeue(self.study, trial)
        return self.ledger() if ledger.retriable else ledger

    def _budget_grew(self) -> bool:
        """Take over the budget of trials of the last launch, if that is larger; return whether it is."""
        n_trials = stored_budget(self.study).trials
        if n_trials <= self.budget.trials:
            return False
        self.budget = replace(self.budget, trials=n_trials)
        return True

    def _must_wait(self, running: Collection[int], waiting: Sequence[FrozenTrial]) -> bool:
        """Return whether a deterministic study's next trial, which must be alone, has to wait until nothing runs.

        In the executor it would wait for those that run, and they in their round for its first epoch.
        """
        return self.spec.deterministic and bool(running and waiting) and trials.is_alone(waiting[0])

    def _promote(self, ledger: Ledger) -> Ledger:
        """Queue the next stage of a paused trial where one is due; what is queued already comes first."""
        number = self._promotable(ledger)
        if number is None:
            return ledger
        trials.promote(self.study, next(trial for trial in ledger.every if trial.number == number))
        return self.ledger()

    def _promotable(self, ledger: Ledger) -> int | None:
        """Return the number of the paused trial that should continue next."""
        if self.spec.fidelity is None or ledger.waiting or ledger.n_taken > self.budget.trials:
            return None
        begins_more = ledger.n_taken < self.budget.trials and not self.is_stale(ledger)
        return promotion.of_study(ledger, self.spec.fidelity, begins_more=begins_more)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        owner = owner_of(trial)
        left_by_me = owner is not None and owner.is_same(self.owner)  # taken when the lock was lost
        return left_by_me or self.watch.is_dead(trial)

    def _start(self, ledger: Ledger) -> Running | Taken:
        """Start the first waiting trial, else a new one. A bad point or a repeated one ends at once."""
        self.seed_sampler(ledger)
        trial = self._continued(ledger.waiting[0]) if ledger.waiting else self._ask()
        frozen = trial._cached_frozen_trial  # as it was read when it was taken
        point = draw(self.spec, trial, trials.stage(frozen))
        if isinstance(point, Refusal):
            self._refuse(trial.number, point)
            return "ended at once"
        trials.begin(trial, point.spec, self.owner, preferences.of(point.spec, self.spec.prefer))
        if point.stage.index == 0 and self._repeat(trial, point.spec, ledger.every):
            return "ended at once"
        run = Running(
            trial=trial,
            point=point,
            checkpoint=self.checkpoints / str(trials.root(frozen)),
            alone=trials.is_alone(frozen),
            takes_reports=len(self.study.directions) == 1,
        )
        run.replay(trials.history(frozen), ledger.every)
        return run

    def seed_sampler(self, ledger: Ledger) -> None:
        """Make the next suggestion depend on the study's seed and history only, not on who asks or when.

        A continued trial lacks parameters too, where it was lost before they were drawn: it draws as it would have.
        """
        until = trials.root(ledger.waiting[0]) if ledger.waiting else math.inf
        n_trials = sum(t.number < until and not trials.history(t) for t in ledger.every)  # a continued one counts once
        seed, steady = (derive(self.spec.seed, "sampler", n) for n in (n_trials, 0))
        self.study.sampler = factory.sampler(
            self.spec.sampler, seed, self.parameters, self._shared, sequence_seed=steady
        )

    def _ask(self) -> optuna.Trial:
        with undamaged(self.study.study_name):  # the sampler reads all trials, those of other programs too
            return self.study.ask()

    def _continued(self, waiting: FrozenTrial) -> optuna.Trial:
        if not self.storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING):
            raise UpdateFinishedTrialError(f"trial {waiting.number} was taken by another coordinator")
        self.view.ended(trials.history(waiting)[-1], f"continues as trial {waiting.number}")
        return optuna.Trial(self.study, waiting._trial_id)

    def _refuse(self, number: int, refusal: Refusal) -> None:
        trials.fail(self.study, number, refusal.reason, refusal.message)
        if refusal.reason == FATAL:
            self.failures.diagnosis = refusal.message
        if not self.will_retry(number):
            self.failures.add(refusal.reason, refusal.message)
        self.view.failed(number, refusal.reason, refusal.message)

    def _repeat(self, trial: optuna.Trial, spec: TrialSpec, known: Sequence[FrozenTrial]) -> bool:
        """Finish a trial whose spec another trial already ran with that trial's result; training it again would
        give the same."""
        twin = trials.twin(known, spec.digest)
        if twin is None:
            return False
        result = trials.copy_of(twin)
        for step, value in twin.intermediate_values.items():
            trial.report(value, step)
        own = own_metrics.attributes_of(twin.user_attrs)
        trials.finish(self.study, trial, result, repeats=twin.number, **own)
        self.failures.clear()
        self.view.ended(trial.number, f"repeats trial {twin.number}")
        return True
