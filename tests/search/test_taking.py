"""What a coordinator takes next, without an executor."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pneumo_core.errors import StudyError
from pneumo_core.specs import DenseSpec, TrialSpec
from search import trials
from search.running import Running
from search.storage.database import exclusively
from search.storage.owner import living, owner_of, this_process
from search.taking import Queue, Taken
from spaces.base import Suggest
from tests.search import light_trainer
from tests.search.finalizing.made import result
from tests.search.light import Search, study


def take(queue: Queue, running: tuple[int, ...] = ()) -> Running | Taken:
    return exclusively(queue.storage, lambda: queue.take(running))


def test_a_new_trial_is_taken_with_its_owner_and_no_more_than_the_budget(tmp_path: Path) -> None:
    queue = Search(tmp_path, study(n_trials=1)).coordinator.queue
    with living(queue.owner):
        taken = take(queue)
        assert isinstance(taken, Running)
        (trial,) = queue.trials()
        assert (trial.state, owner_of(trial)) == (TrialState.RUNNING, queue.owner)
        assert trial.user_attrs["spec_digest"] == taken.point.spec.digest
        assert take(queue, (taken.trial.number,)) == "nothing to take"


def test_a_trial_that_was_taken_before_the_lock_was_lost_is_taken_again(tmp_path: Path) -> None:
    queue = Search(tmp_path, study(n_trials=1)).coordinator.queue
    with living(queue.owner):
        first, second = take(queue), take(queue)
        assert isinstance(first, Running)
        assert isinstance(second, Running)
        assert trials.history(queue.trials()[1]) == [first.trial.number]
        assert second.point.spec == first.point.spec


@dataclass(frozen=True)
class Refusing:
    """A space of which no point can be built."""

    error: Exception

    def __call__(self, suggest: Suggest) -> TrialSpec:
        suggest.suggest_float("x", 1e-6, 1.0, log=True)
        raise self.error


@pytest.mark.parametrize(("error", "reason"), [(ValueError("no"), "bad_spec"), (StudyError("no"), "fatal")])
def test_a_point_that_can_not_be_built_fails_and_counts(tmp_path: Path, error: Exception, reason: str) -> None:
    found = Search(tmp_path, study(Refusing(error), n_trials=1))
    queue = found.coordinator.queue
    assert take(queue) == "ended at once"
    assert [trials.failure_reason(trial) for trial in queue.trials()] == [reason]
    assert queue.failures.n == {reason: 1}
    assert found.coordinator.diagnosis == ("no" if reason == "fatal" else "")
    assert [event[:3] for event in found.view.told] == [("failed", 0, reason)]
    assert queue.ending() == "budget"


@dataclass(frozen=True)
class Fixed:
    def __call__(self, suggest: Suggest) -> TrialSpec:
        return light_trainer.spec(suggest.suggest_categorical("x", [0.1]))


def test_a_repeated_point_ends_with_the_result_of_the_first(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Fixed(), n_trials=2))
    queue = found.coordinator.queue
    first = take(queue)
    assert isinstance(first, Running)
    trials.finish(found.study, first.trial, result(first.point.spec), n_finished=1)
    queue.failures.add("nan_loss", "")
    assert take(queue) == "ended at once"
    assert [trial.user_attrs.get("repeats") for trial in queue.trials()] == [None, 0]
    assert not queue.failures.n


def test_patience_counts_by_the_order_in_which_trials_end(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=20, budget={"patience_trials": 3}))
    late = found.study.ask()
    numbers = [found.study.ask() for _ in range(4)]
    for n_finished, (trial, value) in enumerate([(t, 0.7 - i / 100) for i, t in enumerate(numbers)] + [(late, 0.9)], 1):
        trials.begin(trial, TrialSpec(model=DenseSpec()), this_process())
        trial.set_constraint(trials.CONSTRAINT, 0.0)
        for name, figure in trials.attributes(result(TrialSpec(model=DenseSpec()))).items():
            trial.set_user_attr(name, figure)
        trial.set_user_attr(trials.N_FINISHED, n_finished)
        found.study.tell(trial, value)
        assert found.coordinator.queue.is_stale(found.coordinator.queue.ledger()) == (n_finished == 4), n_finished
