"""A database storage that outlasts lost connections and a restart of its server."""

import contextlib
import json
import random
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from pneumo_core.errors import StorageError
from search.storage.loading import load_trials
from search.storage.versions import without_alembic

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 120.0  # a server restarts in seconds, fails over in a minute
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that was waited for as long as was asked


class ConnectionLost(StorageError):
    """A server ended the connection, refused one, or rolled a deadlocked transaction back: nothing of it is left.

    It is no `SQLAlchemyError`, because Optuna answers some of those with another query in the broken transaction.
    """


class PatientStorage(RDBStorage):
    """An `RDBStorage` that repeats each call of Optuna while its connection is lost, for `patience_s` at most.

    Each call is one transaction, and one that was committed although its connection broke does no harm the second
    time: attributes, parameters and reports are written again with the same value, a trial taken or created
    twice has no owner and is found dead, and a state that was already set raises `UpdateFinishedTrialError`.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], patience_s: float = PATIENCE_S) -> None:
        self._lock: sqlalchemy.Connection | None = None
        self.patience_s = 0.0  # while it is opened
        is_server = make_url(url).get_backend_name() != "sqlite"
        try:
            with without_alembic():
                super().__init__(url, engine_kwargs=engine_kwargs)
        except (StorageInternalError, SQLAlchemyError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if is_server and isinstance(cause, OperationalError | InterfaceError):
                raise ConnectionLost(str(cause.orig).strip().split("\n")[0]) from error
            raise
        if is_server:
            self.patience_s = patience_s
            sqlalchemy.event.listen(self.engine, "handle_error", raise_lost)

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Let calls fail at once, where what surrounds them must begin anew."""
        patience_s, self.patience_s = self.patience_s, 0.0
        try:
            yield
        finally:
            self.patience_s = patience_s

    @contextmanager
    def through(self, lock: sqlalchemy.Connection) -> Iterator[None]:
        """Write through the connection that holds the lock: without the lock nothing can be written."""
        self.forget_session()
        self.scoped_session(bind=lock)
        self._lock = lock
        try:
            with self.impatient():
                yield
        finally:
            self._lock = None
            self.forget_session()

    def forget_session(self) -> None:
        """Drop this thread's session with whatever transaction it is in, however broken."""
        with contextlib.suppress(SQLAlchemyError, ConnectionLost):
            self.scoped_session.remove()  # rolls back as well
        self.scoped_session.registry.clear()

    def repeated(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` does, repeated in a new session while the connection is lost."""

        def once() -> T:
            if self._lock is not None and (self._lock.closed or self._lock.invalidated):
                raise ConnectionLost("the connection that held the lock is lost")
            try:
                return call(*args, **kwargs)
            except ConnectionLost:
                if self._lock is None:
                    self.forget_session()
                raise

        return patiently(self.patience_s, once)

    if not TYPE_CHECKING:  # to a type checker it would make every misspelt name an attribute

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return partial(self.repeated, found) if name in _CALLS else found

    def set_trial_attributes(self, trial_id: int, user: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        """Write attributes of a trial that has not ended, in one transaction: Optuna takes one for each.

        Raises as `set_trial_user_attr` does: `KeyError` and `UpdateFinishedTrialError`.
        """
        kinds = {models.TrialUserAttributeModel: user, models.TrialSystemAttributeModel: system}
        with _create_scoped_session(self.scoped_session, ignore_integrity_error=True) as session:
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)
            for kind, attributes in kinds.items():
                rows = [
                    {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                    for key, value in attributes.items()
                ]
                if rows:
                    session.execute(_upsert(kind, self.engine.name), rows)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Read what Optuna's cache asks for: all trials once, then the new ones and those that were not finished."""
        if states is not None:  # the cache never asks so
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        return load_trials(self.engine, study_id, included_trial_ids, trial_id_greater_than)


def patiently(patience_s: float, call: Callable[[], T]) -> T:
    """Return what `call` does, repeated while the connection is lost, for `patience_s` at most."""
    deadline_s, delay_s = time.monotonic() + patience_s, FIRST_DELAY_S
    while True:
        try:
            return call()
        except ConnectionLost:
            if time.monotonic() + delay_s > deadline_s:
                raise
        time.sleep(delay_s * random.uniform(0.5, 1.0))
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


@cache
def _upsert(kind: Any, dialect: str) -> Any:
    """Return the statement that writes rows of attributes, over those of the same trial and key."""
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(kind.__table__)  # one: all take 0.1 s to load
    if dialect == "mysql":
        return insert.on_duplicate_key_update(value_json=insert.inserted.value_json)
    new = {"value_json": insert.excluded.value_json}
    return insert.on_conflict_do_update(index_elements=["trial_id", "key"], set_=new)


def raise_lost(context: ExceptionContext) -> None:
    """Raise `ConnectionLost` in place of the driver's error where that says so; to be called by SQLAlchemy."""
    cause = context.original_exception
    if context.is_pre_ping or getattr(cause, "sqlstate", None) == LOCK_NOT_AVAILABLE:
        return
    if not isinstance(cause, Exception):  # Ctrl-C in the middle of a query
        return
    is_lost = isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError)
    if context.is_disconnect or is_lost or "Packet sequence number wrong" in str(cause):  # PyMySQL's, half an answer
        raise ConnectionLost(str(cause).strip().split("\n")[0]) from cause


_CACHE_CALLS = ("_create_new_trial", "_get_trials", "_set_trial_param")  # Optuna's cache calls these as well
_OPTUNAS = [name for name in vars(BaseStorage) if not name.startswith("_")]
_CALLS = frozenset(["set_trial_attributes", *_CACHE_CALLS, *_OPTUNAS])
