"""One coordinator around an executor that trains nothing: what it does about each end of a trial."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pneumo_core.errors import StorageError, StudyError
from pneumo_core.result import TrialResult
from pneumo_core.specs import DataSpec, Stage, TrialSpec
from pneumo_core.wire import EpochDone, RunTrial, Task, TrialDone, TrialError
from search import launching
from search.executors.protocol import Event
from search.running import Point, Running
from spaces.base import Suggest
from tests.search import light_trainer
from tests.search.finalizing import made
from tests.search.light import Search, study


@dataclass
class Scripted:
    """An executor whose trials end one after the other as `ends` says: "done", or a reason of failure."""

    ends: list[str]
    n_slots: int = 1
    _events: list[Event] = field(default_factory=list)

    @property
    def n_free(self) -> int:
        return self.n_slots - len(self._events)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        assert isinstance(task, RunTrial)
        end = self.ends.pop(0)
        done = TrialDone(number=task.number, result=made.result(task.spec))
        self._events.append(done if end == "done" else TrialError(number=task.number, reason=end, message="why"))

    def poll(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def reply(self, number: int, *, stop: bool) -> None:
        raise AssertionError("nothing asks")

    def cancel(self, number: int) -> None: ...
    def close(self) -> None: ...


def test_arrays_that_were_damaged_are_made_anew_and_the_trial_runs_again(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=1), runner=Scripted(["bad_arrays", "child_died", "done"]))
    forgotten: list[DataSpec] = []
    found.coordinator.forget_arrays = forgotten.append
    assert found.run() == "budget"
    assert len(forgotten) == 2
    assert [trial.state for trial in found.current] == [TrialState.COMPLETE]


def test_a_repeated_trial_clears_the_count_of_failures(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Fixed(), n_trials=2), runner=Scripted(["done"]))
    finished = found.view.finished

    def fail_meanwhile(number: int, result: TrialResult) -> None:
        finished(number, result)
        found.coordinator.queue.failures.n["nan_loss"] = 4

    found.view.finished = fail_meanwhile  # type: ignore[method-assign]
    assert found.run() == "budget"
    assert not found.coordinator.queue.failures.n


@dataclass(frozen=True)
class Fixed:
    def __call__(self, suggest: Suggest) -> TrialSpec:
        return light_trainer.spec(suggest.suggest_categorical("x", [0.1]))


class Strict(optuna.pruners.BasePruner):
    """A pruner that stops whatever it is asked about."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_a_trial_that_starts_over_is_not_judged_by_what_it_reported_before(tmp_path: Path) -> None:
    """Its checkpoint was damaged: pruned in an earlier epoch it would end with less than it had."""
    trial = optuna.create_study(pruner=Strict()).ask()
    point = Point(spec=light_trainer.spec(), stage=Stage(), data=DataSpec())
    run = Running(trial=trial, point=point, checkpoint=tmp_path / "none", reported={0, 1})
    epochs = [EpochDone(number=0, epoch=epoch, metrics={"pruning_metric": 0.5}) for epoch in range(2)]
    assert [run.judge(epoch) for epoch in epochs] == [False, True]


def test_a_home_that_is_moved_away_is_named(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=1), runner=Scripted(["done"]))
    shutil.rmtree(tmp_path / "artifacts", ignore_errors=True)
    (tmp_path / "artifacts").write_text("something else")
    with pytest.raises(StorageError, match="can't write to"):
        found.run()


@dataclass(frozen=True)
class SlowToDraw:
    """A space whose draws take longer than its trials, as a `HyperModel` that is built for each."""

    def __call__(self, suggest: Suggest) -> TrialSpec:
        time.sleep(0.1)
        return light_trainer.spec(suggest.suggest_float("x", 1e-6, 1.0, log=True))


def test_slow_draws_leave_the_lock_to_others(tmp_path: Path) -> None:
    spec = study(SlowToDraw(), n_trials=16)
    begun = threading.Barrier(2)

    def launch(_: int) -> int:
        found = Search(tmp_path, spec, runner=Scripted(["done"] * 16, n_slots=4))
        begun.wait()
        assert found.run() == "budget"
        return sum(event[0] == "finished" for event in found.view.told)

    Search(tmp_path, spec).close()
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(launch, range(2)))
    assert sum(shares) == 16
    assert min(shares) >= 3


def test_a_study_that_is_deleted_while_it_runs_is_named(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=3), runner=Scripted(["done", "done", "done"]))
    found.view.finished = lambda *_: optuna.delete_study(  # type: ignore[method-assign]
        study_name=found.spec.name, storage=found.storage
    )
    with pytest.raises(StudyError, match="was deleted"):
        launching._run(found.coordinator, found.storage)
