"""A space that got wider keeps the trials of its study; a point of an earlier search is a start for another."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pneumo_core.errors import StudyError
from pneumo_core.specs import TrialSpec
from search import fingerprint, warm_start
from search.storage.database import open_storage
from search.study import open_study
from spaces.base import Suggest
from studies.probing import probe
from studies.spec import Space, StudySpec
from tests.search import light_trainer
from tests.search.light import Search, study


def choosing(*choices: float) -> Space:
    def space(suggest: Suggest) -> TrialSpec:
        x = suggest.suggest_categorical("x", choices)
        return light_trainer.spec(x, epochs=2)

    return space


def open_with(folder: Path, spec: StudySpec, *, extend: bool = False) -> optuna.Study:
    storage = open_storage(f"sqlite:///{folder / 'light.db'}")
    return open_study(spec, storage, fingerprint.of_study(spec, probe(spec)), extend=extend)


def with_trials(folder: Path, space: Space, n_trials: int = 3) -> StudySpec:
    """Run a study with its true fingerprint, as a launch has it."""
    spec = study(space, n_trials=n_trials)
    Search(folder, spec, mark=fingerprint.of_study(spec, probe(spec))).run()
    return spec


def test_a_choice_more_keeps_the_trials_and_is_searched(tmp_path: Path) -> None:
    with_trials(tmp_path, choosing(0.1, 0.2))
    wider = study(choosing(0.05, 0.1, 0.2), n_trials=12)
    with pytest.raises(StudyError, match=r"stored one of 0.1, 0.2, now one of 0.05, 0.1, 0.2(.|\n)*--extend"):
        open_with(tmp_path, wider)
    before = [trial.params for trial in open_with(tmp_path, study(choosing(0.1, 0.2))).trials]
    found = open_with(tmp_path, wider, extend=True)
    assert [trial.params for trial in found.trials] == before
    trial = found.ask()
    assert trial.suggest_categorical("x", (0.05, 0.1, 0.2)) in (0.05, 0.1, 0.2)
    found.tell(trial, state=TrialState.FAIL)
    assert open_with(tmp_path, wider).user_attrs["fingerprint"]["space"]["x"] == "one of 0.05, 0.1, 0.2"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (study(choosing(0.3, 0.4)), r"does not give trial 0"),
        (study(choosing(0.1, 0.2, 0.3), seed=5), "differs in more:\n  study: seed: stored 0, now 5"),
    ],
)
def test_what_is_no_wider_space_is_refused(tmp_path: Path, other: StudySpec, said: str) -> None:
    with_trials(tmp_path, choosing(0.1, 0.2))
    with pytest.raises(StudyError, match=said):
        open_with(tmp_path, other, extend=True)


def two(suggest: Suggest) -> TrialSpec:
    suggest.suggest_int("units", 4, 64)
    return light_trainer.spec(suggest.suggest_float("x", 0.01, 1.0))


def points(source: str, folder: Path, space: Space = two) -> list[dict[str, Any]]:
    spec = study(space)
    return warm_start.points(source, f"sqlite:///{folder / 'light.db'}", spec, probe(spec))


def test_the_best_points_of_another_study_come_first(tmp_path: Path) -> None:
    spec = with_trials(tmp_path, choosing(0.1, 0.2, 0.4))
    other = optuna.create_study(study_name="theirs", storage=f"sqlite:///{tmp_path / 'their.db'}", direction="minimize")
    for x, units, value in ((0.5, 8, 3.0), (0.25, 99, 1.0), (0.75, 16, 2.0), (7.0, 7, 9.0)):
        distributions = {
            "x": optuna.distributions.FloatDistribution(0, 10),
            "units": optuna.distributions.IntDistribution(1, 100),
            "more": optuna.distributions.IntDistribution(1, 9),
        }
        params = {"x": x, "units": units, "more": 3}
        other.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    assert points(f"sqlite:///{tmp_path / 'their.db'}#theirs", tmp_path) == [
        {"x": 0.25},
        {"x": 0.75, "units": 16},
        {"x": 0.5, "units": 8},
        {"units": 7},
    ]
    own = points(spec.name, tmp_path)
    assert own
    assert all(point.keys() == {"x"} for point in own)
    with pytest.raises(StudyError, match="no study 'nowhere'"):
        points("nowhere", tmp_path)


def test_a_folder_of_kerastuner_is_read(tmp_path: Path) -> None:
    for number, (units, score) in enumerate([(8, 0.5), (16, 0.2), (32, 0.9)]):
        folder = tmp_path / "tuned" / f"trial_{number}"
        folder.mkdir(parents=True)
        observed = {"val_loss": {"direction": "min", "observations": [{"value": [score], "step": 0}]}}
        state = {
            "hyperparameters": {"space": [], "values": {"units": units, "tuner/epochs": 3}},
            "metrics": {"metrics": observed},
            "score": score,
            "status": "COMPLETED" if units != 32 else "FAILED",
        }
        (folder / "trial.json").write_text(json.dumps(state))
    (tmp_path / "tuned" / "trial_9").mkdir()
    (tmp_path / "tuned" / "trial_9" / "trial.json").write_text("{")
    assert points(str(tmp_path / "tuned"), tmp_path) == [{"units": 16}, {"units": 8}]
    with pytest.raises(StudyError, match="none of its finished trials has a parameter"):
        points(str(tmp_path / "tuned"), tmp_path, choosing(0.1, 0.2))
