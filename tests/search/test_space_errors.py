"""What a space may say in the middle of a search: this trial fails, or the search must end."""

from pathlib import Path

from optuna.trial import TrialState

from pneumo_core.errors import StudyError, TrialFailed
from pneumo_core.specs import TrialSpec
from search import trials
from spaces.base import Suggest
from tests.search import light
from tests.search.light import Search, study


def refusing(suggest: Suggest) -> TrialSpec:
    x = suggest.suggest_float("x", 1e-6, 1.0, log=True)
    if x < 1e-3:
        raise TrialFailed("failed_trial", f"{x} is too slow")
    return light.space(suggest)


def test_a_trial_that_its_space_refuses_fails_once_and_the_search_goes_on(tmp_path: Path) -> None:
    found = Search(tmp_path, study(refusing, n_trials=6))
    assert found.run() == "budget"
    refused = [trial for trial in found.trials if trial.state == TrialState.FAIL]
    assert 0 < len(refused) < len(found.trials) == 6  # none is tried again
    assert {trials.failure_reason(trial) for trial in refused} == {"failed_trial"}
    assert all("too slow" in trial.user_attrs["failure"]["message"] for trial in refused)
    found.close()


def ending(suggest: Suggest) -> TrialSpec:
    if suggest.suggest_int("n", 1, 2) == 2:
        raise StudyError("no licence")
    return light.space(suggest)


def test_a_space_can_end_the_search_with_its_reason(tmp_path: Path) -> None:
    found = Search(tmp_path, study(ending, n_trials=50))
    assert found.run() == "failing"
    assert found.coordinator.diagnosis == "no licence"
    assert [trials.failure_reason(trial) for trial in found.trials].count("fatal") == 1
    assert len(found.trials) < 50
    found.close()
