"""Our ways of reading all trials, and of writing all attributes of one, at once, held against Optuna's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.storage.patience import PatientStorage

QUERIES = 6  # one of each table that tells of trials


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


def assert_attributes_are_written_at_once(opened: PatientStorage) -> None:
    """Write attributes, some of them over others: in one transaction, and only while the trial has not ended."""
    study = optuna.create_study(storage=opened)
    trial, beside = study.ask(), study.ask()
    beside.set_user_attr("kept", "of another trial")
    trial.set_user_attr("kept", 0)
    trial.set_user_attr("written again", 1)
    commits: list[object] = []
    note = commits.append
    sqlalchemy.event.listen(opened.engine, "commit", note)
    user = {"written again": [2, None], "new": {"text": "ä'\"\\%:x"}}
    opened.set_trial_attributes(trial._trial_id, user, {"constraints:k": 0.5})
    opened.set_trial_attributes(trial._trial_id, {}, {"constraints:k": -0.5, "n": 1})
    sqlalchemy.event.remove(opened.engine, "commit", note)
    assert len(commits) == 2
    found, other = study.get_trials()
    assert found.user_attrs == {"kept": 0, **user}
    assert found.system_attrs == {"constraints:k": -0.5, "n": 1}
    assert (other.user_attrs, other.system_attrs) == ({"kept": "of another trial"}, {})
    study.tell(trial, 1.0)
    for trial_id, error in ((trial._trial_id, UpdateFinishedTrialError), (99, KeyError)):
        with pytest.raises(error):
            opened.set_trial_attributes(trial_id, {"late": 1}, {})


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
