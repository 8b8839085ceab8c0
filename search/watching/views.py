"""The events of a search, and several watchers as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search.records import Best, Summary
from studies.spec import StudySpec


class View:
    """The events of a search, in the process of its coordinator; each does nothing unless overridden.

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


class Relay(View):
    """A view that has one answer to every event, by its name."""

    def event(self, name: str, *arguments: Any) -> None:
        raise NotImplementedError

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        self.event("study_began", study, spec)

    def started(self, number: int, spec: TrialSpec) -> None:
        self.event("started", number, spec)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self.event("epoch", number, epoch, metrics)

    def finished(self, number: int, result: TrialResult) -> None:
        self.event("finished", number, result)

    def failed(self, number: int, reason: str, message: str) -> None:
        self.event("failed", number, reason, message)

    def ended(self, number: int, what: str) -> None:
        self.event("ended", number, what)

    def new_best(self, best: Best) -> None:
        self.event("new_best", best)

    def study_ended(self, why: str) -> None:
        self.event("study_ended", why)

    def noted(self, text: str) -> None:
        self.event("noted", text)


@dataclass(frozen=True)
class Views(Relay):
    """Several views as one."""

    views: Sequence[View]

    def event(self, name: str, *arguments: Any) -> None:
        for view in self.views:
            getattr(view, name)(*arguments)


MakeView = Callable[[int, int, Callable[[], Summary]], View]
"""Called as `make_view(n_trials, n_slots, summary)`."""
