"""The log of test openings: each look at the test role, kept in the study for ever, oldest first."""

from dataclasses import dataclass
from datetime import UTC, datetime

import optuna
from optuna.storages import RDBStorage

from pneumo_core import codec
from search.storage.database import exclusive

ATTRIBUTE = "test_openings"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test role."""

    time: str  # UTC, ISO 8601
    bundle: str  # digest of models, preprocessing and threshold: see `Bundle.frozen`
    out: str  # where that bundle goes


def logged(study: optuna.Study) -> list[Opening]:
    """Return every opening so far."""
    return [codec.from_json(Opening, entry) for entry in study.user_attrs.get(ATTRIBUTE, [])]


def log(study: optuna.Study, storage: RDBStorage, bundle: str, out: str) -> int:
    """Log an opening before it happens and return how many there were with it.

    A finalize that was killed after this line and goes on is the same opening, and isn't logged twice.
    """
    with exclusive(storage):
        known = logged(study)
        if known and (known[-1].bundle, known[-1].out) == (bundle, out):
            return len(known)
        opening = Opening(time=datetime.now(UTC).isoformat(timespec="seconds"), bundle=bundle, out=out)
        study.set_user_attr(ATTRIBUTE, [codec.to_json(entry) for entry in (*known, opening)])
        return len(known) + 1
