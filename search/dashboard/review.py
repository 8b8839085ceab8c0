"""The storage of the dashboard: one study, read-only, in the form that the dashboard expects."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.errors import StorageError
from search import records
from search.dashboard import presented
from search.dashboard.presented import Artifact, Ranges

ArtifactsOf = Callable[[FrozenTrial], Iterable[Artifact]]


class ReviewStorage(BaseStorage):
    """Study `study_id` of `inner`; whatever would write raises `StorageError`.

    `note` is put before the study's own note, and `artifacts_of` names files beside a trial's own.
    """

    def __init__(self, inner: BaseStorage, study_id: int, *, note: str, artifacts_of: ArtifactsOf) -> None:
        self._inner, self._study_id, self._artifacts_of = inner, study_id, artifacts_of
        self._notes: dict[int | None, str] = {None: note}  # and of judged trials, which change no more

    @property
    def inner(self) -> BaseStorage:
        """The storage as it is, not as it is presented."""
        return self._inner

    def get_all_studies(self) -> list[FrozenStudy]:
        mine = [study for study in self._inner.get_all_studies() if study._study_id == self._study_id]
        for study in mine:
            study.system_attrs = self._with_notes(study.system_attrs)
            study.user_attrs = presented.narrow(study.user_attrs)
        return mine

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._with_notes(self._inner.get_study_system_attrs(self._checked(study_id)))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return presented.narrow(self._inner.get_study_user_attrs(self._checked(study_id)))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._checked(self._inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._inner.get_study_name_from_id(self._checked(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._inner.get_study_directions(self._checked(study_id))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._presented(self._inner.get_trial(trial_id), {})  # ranges matter where trials are compared

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        every = self._inner.get_all_trials(self._checked(study_id), deepcopy)
        ranges = presented.ranges(every)
        return [self._presented(trial, ranges) for trial in every if states is None or trial.state in states]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best feasible trial, or where there is none the best: the dashboard can't do without one."""
        best = records.best_feasible(self.get_all_trials(study_id, deepcopy=False))
        return best or super().get_best_trial(study_id)

    def remove_session(self) -> None:
        self._inner.remove_session()

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        _refuse()

    def delete_study(self, study_id: int) -> None:
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        _refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        _refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()

    def _checked(self, study_id: int) -> int:
        if study_id != self._study_id:
            raise KeyError(study_id)  # what Optuna's storages raise
        return study_id

    def _presented(self, trial: FrozenTrial, ranges: Ranges) -> FrozenTrial:
        return presented.trial(trial, ranges, self._artifacts_of(trial))

    def _with_notes(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for trial in self._inner.get_all_trials(self._study_id, deepcopy=False):
            if trial.state in presented.JUDGED and trial._trial_id not in self._notes:
                self._notes[trial._trial_id] = presented.note(trial)
        return presented.with_notes(attrs, self._notes)


def _refuse() -> NoReturn:
    raise StorageError("this view of the study is read-only")
