"""The images behind a study: found again, checked to be the same, and only train and validation opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from pneumo_core.data import folds, preprocess
from pneumo_core.data.manifest import ImageRecord
from pneumo_core.data.preprocess import FitArrays, RoleArrays
from pneumo_core.data.split import Role, role_counts
from pneumo_core.errors import StudyError
from pneumo_core.progress import Progress, silent
from pneumo_core.specs import DataSpec
from search import fingerprint, stored
from search.home import Home
from search.prepared import Prepared, read_source
from search.report.data import DataFlow, Validation
from search.study import stored_source


@dataclass(frozen=True, kw_only=True)
class Images:
    """What one trial saw, with the facts of the files for the baselines."""

    fit: FitArrays
    validation: Validation
    train_records: tuple[ImageRecord, ...]
    validation_records: tuple[ImageRecord, ...]  # in the order of `validation`
    n_folds: int | None = None  # None: `validation` is the role of that name, else both roles pooled


def read(study: optuna.Study, source: str, home: Home, progress: Progress = silent) -> Prepared:
    """Scan `source` as the study did. Raises `StudyError` when it isn't what the study was trained on."""
    spec = stored_source(study, source)
    prepared = read_source(spec, home, progress)
    _refuse_other(study, source, stored.read(study).fingerprint, fingerprint.of_data(prepared.manifest, prepared.split))
    return prepared


def _refuse_other(study: optuna.Study, source: str, known: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if lines := fingerprint.differences({name: known.get(name, {}) for name in found}, found):
        raise StudyError(
            f"{source} is not what study {study.study_name!r} was trained on:\n  "
            + "\n  ".join(lines)
            + "\ngive --data the source that it was launched with"
        )


def flow(prepared: Prepared) -> DataFlow:
    """Count images and patients of every role; no image is opened."""
    manifest, split = prepared.manifest, prepared.split
    return DataFlow(
        negative=manifest.negative,
        positive=manifest.positive,
        roles=role_counts(manifest, split),
        n_patients=len(set(split.groups)),
        rejected=tuple((entry.path, entry.reason) for entry in manifest.rejected),
        notes=split.notes,
        leaks=split.leaks,
    )


def images(prepared: Prepared, data: DataSpec, n_folds: int | None = None) -> Images:
    """Open the train and validation arrays that trials of `data` saw; over folds, pooled in memory."""
    folder = prepared.arrays_for(data)
    judged_on: tuple[Role, ...] = ("validation",) if n_folds is None else folds.POOLED_ROLES
    return Images(
        fit=preprocess.open_fit_arrays(folder),
        validation=_joined([preprocess.open_role(folder, role) for role in judged_on]),
        train_records=_records(prepared, "train"),
        validation_records=tuple(record for role in judged_on for record in _records(prepared, role)),
        n_folds=n_folds,
    )


def _joined(roles: Sequence[RoleArrays]) -> Validation:
    return Validation(
        x=roles[0].x if len(roles) == 1 else np.concatenate([role.x for role in roles]),
        y=np.concatenate([role.y for role in roles]).astype(np.bool_),
        paths=tuple(path for role in roles for path in role.paths),
        groups=tuple(group for role in roles for group in role.groups),
        kinds=tuple(kind for role in roles for kind in role.kinds),
    )


def _records(prepared: Prepared, role: Role) -> tuple[ImageRecord, ...]:
    """Return the records of a role in the order of its arrays' rows."""
    found = [prepared.manifest.records[index] for index in prepared.split.indices(role)]
    return tuple(sorted(found, key=lambda record: record.path))
