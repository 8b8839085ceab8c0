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

QUERIES = 7  # the study, and each table that tells of trials


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
    for wanted in ((set(), -1), ({2, 5}, 3), (set(), 99)):
        ours = opened._get_trials(study._study_id, None, *wanted)
        optunas = RDBStorage._get_trials(opened, study._study_id, None, *wanted)
        assert [repr(trial) for trial in ours] == [repr(trial) for trial in optunas]  # NaN equals nothing


def assert_trials_are_read_at_one_moment(opened: PatientStorage, writer: PatientStorage) -> None:
    """Finish a trial before each of the queries in turn: it is read as it was before that, or as it is after.

    For servers. SQLite lets nobody write while trials are read.
    """
    study = optuna.create_study(storage=writer, directions=["maximize", "minimize"])
    for after in (-1, 0):  # as a study is first read, and as it is read again
        states = []
        for n_queries in range(QUERIES):
            trial = study.ask()
            moments = [repr(writer.get_trial(trial._trial_id))]
            with _before_query(opened, n_queries, partial(_finish, study, trial)):
                found = opened._get_trials(study._study_id, None, set(), after)[-1]
            moments.append(repr(writer.get_trial(trial._trial_id)))
            assert repr(found) in moments
            states.append(found.state)
        assert states == [TrialState.COMPLETE] + [TrialState.RUNNING] * (QUERIES - 1)


def assert_a_study_is_read_whole_or_not_at_all(opened: PatientStorage, writer: PatientStorage) -> None:
    """Delete the study before each of the queries in turn. For servers, as above."""
    outcomes = []
    for n_queries in range(QUERIES):
        study = optuna.create_study(storage=writer, directions=["maximize", "minimize"])
        _finish(study, study.ask())
        whole = repr(writer.get_all_trials(study._study_id))
        with _before_query(
            opened, n_queries, partial(optuna.delete_study, study_name=study.study_name, storage=writer)
        ):
            try:
                outcomes.append(repr(opened._get_trials(study._study_id, None, set(), -1)) == whole)
            except KeyError as error:
                outcomes.append(str(error))
    assert outcomes == ["'Record does not exist.'"] + [True] * (QUERIES - 1)


def _finish(study: optuna.Study, trial: optuna.Trial) -> None:
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("a", 1)
    study.tell(trial, [0.5, 1.0])


@contextmanager
def _before_query(storage: PatientStorage, n_queries: int, do: Callable[[], object]) -> Iterator[None]:
    """Do something once, before the query that comes after `n_queries` others."""
    n_made = 0

    def before(*_: Any) -> None:
        nonlocal n_made
        n_made += 1
        if n_made == n_queries + 1:
            do()

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        sqlalchemy.event.remove(storage.engine, "before_cursor_execute", before)
    assert n_made > n_queries, "fewer queries were made than this test expects"
