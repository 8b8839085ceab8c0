"""Our way of reading all trials at once, held against Optuna's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.storage.patience import PatientStorage

QUERIES = 6  # one for each table that tells of trials


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


def assert_no_trial_is_half_read(opened: PatientStorage, writer: PatientStorage) -> None:
    """Finish a trial before each of the queries in turn: where it is read as finished, it has all that it had.

    For servers. SQLite lets nobody write while all trials are read.
    """
    study = optuna.create_study(storage=writer, directions=["maximize", "minimize"])
    states = []
    for n_queries in range(QUERIES):
        trial = study.ask()
        with _before_query(opened, n_queries, partial(_finish, study, trial)):
            found = opened._get_trials(study._study_id, None, set(), -1)[trial.number]
        states.append(found.state)
        if found.state.is_finished():
            assert repr(found) == repr(RDBStorage._get_trials(opened, study._study_id, None, set(), -1)[trial.number])
    assert set(states) == {TrialState.COMPLETE, TrialState.RUNNING}, "finished before the first query, and after it"


def _finish(study: optuna.Study, trial: optuna.Trial) -> None:
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("a", 1)
    study.tell(trial, [0.5, 1.0])


@contextmanager
def _before_query(storage: PatientStorage, n_queries: int, do: Callable[[], None]) -> Iterator[None]:
    """Do something once, before the query that comes after `n_queries` others."""
    left = [do if i == n_queries else None for i in range(QUERIES)]

    def before(*_: Any) -> None:
        if left and (due := left.pop(0)) is not None:
            due()

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        sqlalchemy.event.remove(storage.engine, "before_cursor_execute", before)
    assert not left, "fewer queries were made than this test expects"
