"""What a coordinator reports to whoever watches, and several watchers as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search.records import Summary


class View(Protocol):
    """What the coordinator tells whoever watches."""

    def started(self, number: int, spec: TrialSpec) -> None: ...
    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def finished(self, number: int, result: TrialResult) -> None: ...
    def failed(self, number: int, reason: str, message: str) -> None: ...
    def ended(self, number: int, what: str) -> None: ...


@dataclass(frozen=True)
class Views:
    """Several views as one."""

    views: Sequence[View]

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


MakeView = Callable[[int, int, Callable[[], Summary]], View]
"""Called as `make_view(n_trials, n_slots, summary)`."""
