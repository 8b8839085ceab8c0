"""A database storage that outlasts a restart of its server."""

import random
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from search.storage.loading import load_trials

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 120.0  # a server restarts in seconds, fails over in a minute
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0


class PatientStorage(RDBStorage):
    """An `RDBStorage` that repeats a call while the connection to its server is lost, for `patience_s` at most.

    Each call is one transaction, and one that was committed although its connection broke does no harm the second
    time: attributes, parameters and reports are written again with the same value, a trial taken or created
    twice has no owner and is found dead, and a state that was already set raises `UpdateFinishedTrialError`.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], patience_s: float = PATIENCE_S) -> None:
        super().__init__(url, engine_kwargs=engine_kwargs)
        self.patience_s = 0.0 if make_url(self.url).get_backend_name() == "sqlite" else patience_s

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Let calls fail at once, where what surrounds them must begin anew."""
        patience_s, self.patience_s = self.patience_s, 0.0
        try:
            yield
        finally:
            self.patience_s = patience_s

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Read what Optuna's cache asks for; the first time that is all there is."""

        def read() -> list[FrozenTrial]:
            if states is None and not included_trial_ids and trial_id_greater_than < 0:
                with self.engine.begin() as connection:
                    return load_trials(connection, study_id)
            return super(PatientStorage, self)._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)

        return patiently(self.patience_s, read)


def patiently(patience_s: float, call: Callable[[], T]) -> T:
    """Return what `call` does, repeated while the connection is lost, for `patience_s` at most."""
    deadline_s, delay_s = time.monotonic() + patience_s, FIRST_DELAY_S
    while True:
        try:
            return call()
        except (StorageInternalError, OperationalError, InterfaceError) as error:
            if not is_lost_connection(error) or time.monotonic() + delay_s > deadline_s:
                raise
        time.sleep(delay_s * random.uniform(0.5, 1.0))
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


def is_lost_connection(error: BaseException) -> bool:
    """Tell a lost or refused connection (and a deadlock) from a mistake; Optuna wraps the driver's error."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError | InterfaceError)


def _patient(method: Callable[Concatenate[PatientStorage, P], T]) -> Callable[Concatenate[PatientStorage, P], T]:
    def call(self: PatientStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return patiently(self.patience_s, lambda: method(self, *args, **kwargs))

    return call


# Every other call that is one transaction.
_CALLS = (
    "create_new_study",
    "create_new_trial",
    "get_all_studies",
    "get_all_trials",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_system_attrs",
    "get_trial_user_attrs",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_system_attr",
    "set_trial_user_attr",
)
for _name in _CALLS:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
