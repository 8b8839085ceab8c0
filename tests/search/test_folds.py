"""Studies over folds: another study than one without, pruned by comparing fold with fold."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pneumo_core.errors import StudyError
from search import fingerprint
from search.storage.database import open_storage
from search.study import open_study
from studies.probing import probe
from studies.spec import PrunerSpec
from tests.search.light import Faulty, Search, executor, study
from tests.search.light_trainer import Fault

N_FOLDS = 6
SPACE = Faulty(Fault.NONE, epochs=N_FOLDS)  # the light trainer's epochs stand for folds


def test_a_clearly_worse_trial_is_pruned_once_four_folds_say_so(tmp_path: Path) -> None:
    spec = study(SPACE, n_trials=2, folds=N_FOLDS, enqueue=({"x": 0.01}, {"x": 1e-5}), pruner=PrunerSpec())
    found = Search(tmp_path, spec, runner=executor(tmp_path, 1))

    assert found.run() == "budget"
    good, bad = found.trials
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert sorted(good.intermediate_values) == list(range(N_FOLDS))
    assert sorted(bad.intermediate_values) == [0, 1, 2, 3]  # p = 2^-4 is the first below 0.1
    assert "fnr_ceiling" in bad.constraints


def test_a_trial_as_good_as_the_best_is_not_pruned(tmp_path: Path) -> None:
    spec = study(SPACE, n_trials=2, folds=N_FOLDS, enqueue=({"x": 0.01}, {"x": 0.0101}), pruner=PrunerSpec())
    found = Search(tmp_path, spec, runner=executor(tmp_path, 1))
    assert found.run() == "budget"
    assert [trial.state for trial in found.trials] == [TrialState.COMPLETE] * 2


def test_other_folds_make_another_study_and_none_leave_the_fingerprint_as_it_was(tmp_path: Path) -> None:
    spec = study(SPACE)
    assert fingerprint.of_study(spec, probe(spec))["study"] == {"seed": 0}
    storage = open_storage(f"sqlite:///{tmp_path / 'light.db'}")
    five, six = (replace(spec, folds=n, pruner=PrunerSpec()) for n in (5, 6))
    open_study(five, storage, fingerprint.of_study(five, probe(five)))
    with pytest.raises(StudyError, match="folds: stored 5, now 6"):
        open_study(six, storage, fingerprint.of_study(six, probe(six)))
