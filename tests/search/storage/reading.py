"""Our way of reading all trials at once, held against Optuna's own."""

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.storage.patience import PatientStorage


def assert_read_alike(opened: PatientStorage) -> None:
    study = optuna.create_study(storage=opened, directions=["maximize", "minimize"])
    study.enqueue_trial({"x": 0.5})
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_categorical("c", [None, "a", 1])), n_trials=3)
    running = study.ask()
    running.suggest_int("n", 1, 9)
    running.set_constraint("k", 0.5)
    running.set_user_attr("a", {"b": [1, None]})
    study.add_trial(optuna.create_trial(state=TrialState.FAIL, intermediate_values={0: float("nan"), 3: float("inf")}))
    study.enqueue_trial({"x": 0.1})
    ours = opened._get_trials(study._study_id, None, set(), -1)
    optunas = RDBStorage._get_trials(opened, study._study_id, None, set(), -1)
    assert [repr(trial) for trial in ours] == [repr(trial) for trial in optunas]  # NaN equals nothing
