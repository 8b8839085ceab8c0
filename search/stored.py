"""A stored study as this program may use it: the one place where its attributes are read from the database.

Others can change the database: other programs, other versions of this one, a damaged disk. So what is read is
checked here and in `search.stored_trials`, and nowhere else. Whatever has not the type that this program writes raises
a `StudyError` that names the field.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from pneumo_core import codec
from pneumo_core.errors import PneumoError, StudyError, describe
from pneumo_core.specs import ObjectiveSpec
from pneumo_core.tuner.dialogue import DRAWN
from search.home import is_id
from studies.spec import BudgetSpec, FidelitySpec, SourceSpec

T = TypeVar("T")
Section = Mapping[str, Any]

LARGEST = 2**53  # of whole numbers: what every reader of JSON keeps exactly


@dataclass(frozen=True)
class StoredStudy:
    """The attributes of a study. Each is checked when it is asked for; `StudyError` says which one is wrong."""

    name: str
    attributes: Mapping[str, Any]

    @property
    def is_ours(self) -> bool:
        return "fingerprint" in self.attributes

    @property
    def format(self) -> object:
        return self.attributes.get("format")

    @property
    def uid(self) -> str:
        uid: str = self._of_type("uid", str)
        if not is_id(uid):
            raise self.error("uid", f"must be 16 hexadecimal digits, got {uid!r}")
        return uid

    @property
    def is_complete(self) -> bool:
        """Whether its launch wrote all: the id comes last."""
        return "uid" in self.attributes

    @property
    def objective(self) -> ObjectiveSpec:
        return self._decoded("objective", ObjectiveSpec, self._of_type("objective", Mapping))

    @property
    def source(self) -> SourceSpec:
        """How the study's images are read and divided."""
        return self._decoded("source", SourceSpec, self._of_type("source", Mapping))

    @property
    def budget(self) -> BudgetSpec:
        return self._decoded("budget", BudgetSpec, self._of_type("budget", Mapping))

    @property
    def fingerprint(self) -> Mapping[str, Section]:
        return self._sections("fingerprint")

    @property
    def space(self) -> dict[str, str]:
        """What each parameter may be, without the numbers that a sampler draws to make one, and without marks."""
        found = self._section("space")
        return {
            name: str(text) for name, text in found.items() if not name.startswith("(") and not name.endswith(DRAWN)
        }

    @property
    def code(self) -> Mapping[str, Section]:
        return self._sections("code") if "code" in self.attributes else {}

    @property
    def definition(self) -> Section:
        return self._of_type("definition", Mapping) if "definition" in self.attributes else {}

    @property
    def n_enqueued(self) -> int:
        return self._whole("n_enqueued", self.attributes.get("n_enqueued", 0))

    @property
    def seed(self) -> int:
        return self._whole("fingerprint.study.seed", self._section("study").get("seed"))

    @property
    def folds(self) -> int | None:
        """Out of how many folds the study judges its trials, None when on the validation role."""
        found = self._section("study").get("folds")
        return None if found is None else self._whole("fingerprint.study.folds", found)

    @property
    def fidelity(self) -> FidelitySpec | None:
        found = self._section("study").get("fidelity")
        return None if found is None else self._decoded("fingerprint.study.fidelity", FidelitySpec, found)

    @property
    def classes(self) -> tuple[str, str]:
        """Names of the negative and of the positive class."""
        data = self._section("data")
        negative, positive = data.get("negative"), data.get("positive")
        if not isinstance(negative, str) or not isinstance(positive, str):
            raise self.error("fingerprint.data", f"must name two classes, got {negative!r} and {positive!r}")
        return negative, positive

    def listed(self, name: str) -> list[Any]:
        """Return an attribute that is a list, empty where there is none."""
        found: list[Any] = self._of_type(name, list) if name in self.attributes else []
        return found

    def error(self, name: str, what: str) -> StudyError:
        return StudyError(f"study {self.name!r} is damaged or was changed by another program: its `{name}` {what}")

    def _section(self, name: str) -> Section:
        return self.fingerprint.get(name, {}) if self.is_ours else {}

    def _sections(self, name: str) -> Mapping[str, Section]:
        found: Mapping[str, Section] = self._of_type(name, Mapping)
        for key, section in found.items():
            if not isinstance(section, Mapping):
                raise self.error(f"{name}.{key}", f"must be an object, got {codec.shown(section)}")
        return found

    def _of_type(self, name: str, kind: Any) -> Any:
        if name not in self.attributes:
            how = "was made by another version of this program" if self.is_ours else "was not made by this program"
            raise StudyError(f"study {self.name!r} {how}: it has no `{name}`; launch a new one with another --name")
        found = self.attributes[name]
        if not isinstance(found, kind):
            raise self.error(name, f"must be of type {kind.__name__}, got {codec.shown(found)}")
        return found

    def _decoded(self, name: str, kind: type[T], found: Any) -> T:
        try:
            return codec.from_json(kind, found)
        except ValueError as error:
            raise self.error(name, f"can't be used: {error}") from error

    def _whole(self, name: str, found: object) -> int:
        if not is_whole(found):
            raise self.error(name, f"must be a whole number, got {codec.shown(found)}")
        return int(found)  # type: ignore[call-overload, no-any-return]


def read(study: optuna.Study) -> StoredStudy:
    """Return the attributes of a study."""
    with undamaged(study.study_name):
        return StoredStudy(study.study_name, study.user_attrs)


def every(storage: BaseStorage, asking: str = "(any)") -> list[StoredStudy]:
    """Return the attributes of all studies of a database; `asking` is the one in whose name an error is raised."""
    with undamaged(asking):
        return [StoredStudy(found.study_name, found.user_attrs) for found in storage.get_all_studies()]


def metric_names(study: optuna.Study) -> tuple[str, ...]:
    """Return the names of a study's objective values."""
    with undamaged(study.study_name):
        n_values, found = len(study.directions), study.metric_names
    if not found:
        return tuple(f"value {i}" for i in range(n_values))
    if not isinstance(found, list) or len(found) != n_values or not all(isinstance(name, str) for name in found):
        what = f"must be {n_values} texts, got {codec.shown(found)}"
        raise StoredStudy(study.study_name, {}).error("metric names", what)
    return tuple(found)


@contextmanager
def undamaged(study: str) -> Iterator[None]:
    """Turn what Optuna raises for a damaged row into a `StudyError`; errors of the database itself pass."""
    try:
        yield
    except (PneumoError, StorageInternalError, SQLAlchemyError):
        raise
    except Exception as error:  # Optuna raises whatever a damaged row leads to
        raise StudyError(
            f"study {study!r} can't be read from its database, which is damaged or was changed by another program, or "
            f"the study was deleted: {describe(error)}"
        ) from error


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
