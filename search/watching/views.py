"""The events of a search, and several watchers as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import optuna

from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search.records import Best, Summary
from studies.spec import StudySpec


class View:
    """What a coordinator tells whoever watches, in its own process; each event does nothing unless overridden.

    `number` is the trial's own. A trial that continues a killed or paused one has another number:
    `search.trials.root` gives the first.
    """

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        """A launch or worker begins to work on `study`, which may have trials already."""

    def started(self, number: int, spec: TrialSpec) -> None:
        """A trial is handed to a trainer."""

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch (from 0) has ended; over folds, `metrics` has which fold it belongs to."""

    def finished(self, number: int, result: TrialResult) -> None:
        """A trial is complete, pruned or paused."""

    def failed(self, number: int, reason: str, message: str) -> None:
        """A trial has failed; without `started` before, where it could not be built."""

    def ended(self, number: int, what: str) -> None:
        """A trial has ended otherwise, `what` saying how."""

    def new_best(self, best: Best) -> None:
        """A trial that has just finished is better than all feasible ones before it."""

    def study_ended(self, why: str) -> None:
        """This launch ends: "budget", "stale", "timeout", "interrupted", "failing" or "error"."""

    def noted(self, text: str) -> None:
        """There is something that people should know."""


@dataclass(frozen=True)
class Views(View):
    """Several views as one."""

    views: Sequence[View]

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        for view in self.views:
            view.study_began(study, spec)

    def started(self, number: int, spec: TrialSpec) -> None:
        for view in self.views:
            view.started(number, spec)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        for view in self.views:
            view.epoch(number, epoch, metrics)

    def finished(self, number: int, result: TrialResult) -> None:
        for view in self.views:
            view.finished(number, result)

    def failed(self, number: int, reason: str, message: str) -> None:
        for view in self.views:
            view.failed(number, reason, message)

    def ended(self, number: int, what: str) -> None:
        for view in self.views:
            view.ended(number, what)

    def new_best(self, best: Best) -> None:
        for view in self.views:
            view.new_best(best)

    def study_ended(self, why: str) -> None:
        for view in self.views:
            view.study_ended(why)

    def noted(self, text: str) -> None:
        for view in self.views:
            view.noted(text)


MakeView = Callable[[int, int, Callable[[], Summary]], View]
"""Called as `make_view(n_trials, n_slots, summary)`."""
