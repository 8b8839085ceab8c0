"""The log of looks at images that must choose nothing: the test role opened, the calibration role used.

Each look is kept for ever, in the study that took it. Looks are counted per set of images, over all studies of the
database: searching two spaces on one folder and keeping the better bundle is two looks at one test role.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import optuna

from pneumo_core import codec
from search import stored
from search.prepared import Prepared
from search.storage.database import exclusively
from search.storage.patience import PatientStorage
from search.stored import StoredStudy

ATTRIBUTE = "openings"

Role = Literal["calibration", "test"]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at one role."""

    time: str  # UTC, ISO 8601
    role: Role
    images: str  # digest of the set of images: see `images_of`
    bundle: str  # test: digest of models, preprocessing and threshold; calibration: of the finalize
    out: str = ""  # where that bundle goes


def images_of(prepared: Prepared, role: Role) -> str:
    """Return the name of the set of images that have `role`, the same for every study that gives it to them."""
    records = prepared.manifest.records
    return codec.digest(sorted({records[row].digest for row in prepared.split.indices(role)}))


def logged(study: optuna.Study, role: Role = "test") -> list[Opening]:
    """Return every look that this study took at its `role`, oldest first."""
    return [entry for entry in _entries(stored.read(study)) if entry.role == role]


def n_looks(study: optuna.Study, role: Role, prepared: Prepared | None) -> int:
    """Return how often the images of `role` were looked at by any study of the database.

    Without `prepared` they are known only if this study looked at them.
    """
    own = logged(study, role)
    images = images_of(prepared, role) if prepared else own[-1].images if own else None
    return sum(entry.images == images for entry in _all(study) if entry.role == role)


def log(
    study: optuna.Study, storage: PatientStorage, prepared: Prepared, role: Role, *, bundle: str, out: str = ""
) -> int:
    """Log a look before it happens and return how many there were at these images with it.

    A finalize that was killed after this line and is run again takes the same look, which isn't logged twice.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    opening = Opening(time=now, role=role, images=images_of(prepared, role), bundle=bundle, out=out)

    def logged_once() -> int:
        own = logged(study, role)
        if not own or (own[-1].images, own[-1].bundle, own[-1].out) != (opening.images, bundle, out):
            study.set_user_attr(ATTRIBUTE, [*stored.read(study).listed(ATTRIBUTE), codec.to_json(opening)])
        return n_looks(study, role, prepared)

    return exclusively(storage, logged_once)


def _all(study: optuna.Study) -> Iterator[Opening]:
    for known in stored.every(study._storage, study.study_name):
        yield from _entries(known)


def _entries(known: StoredStudy) -> list[Opening]:
    try:
        return [codec.from_json(Opening, entry) for entry in known.listed(ATTRIBUTE)]
    except ValueError as error:
        raise known.error(ATTRIBUTE, f"can't be used: {error}") from error
