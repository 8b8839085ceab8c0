"""What a bundle keeps of the images that it was made from, so that `certify`, `evaluate` and `drift` recognise them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pneumo_core.bundles import reference, trace, trained_on
from pneumo_core.data.manifest import ImageRecord
from pneumo_core.data.split import Role
from search.prepared import Prepared

_TAUGHT: tuple[Role, Role] = ("train", "validation")


def leave(folder: Path, prepared: Prepared, scores_of: Callable[[Role], np.ndarray]) -> None:
    """Write `trained_on.npz` and `reference.npz` into a bundle that is being made.

    The reference is the calibration role, or test where there is none; `scores_of` gives the bundle's scores of a role.
    """
    taught = [record for role in _TAUGHT for record in _records(prepared, role)]
    looks = trace.of_records(prepared.manifest, taught).looks
    trained_on.write(folder, [record.digest for record in taught], looks)
    role: Role = "calibration" if "calibration" in prepared.split.roles else "test"
    rows = reference.kept_rows(len(prepared.split.indices(role)))
    records = _records(prepared, role)
    kept = [records[row] for row in rows]
    groups = dict(zip((r.path for r in prepared.manifest.records), prepared.split.groups, strict=True))
    sample = reference.sample(
        trace.of_records(prepared.manifest, kept), scores_of(role)[rows], [groups[record.path] for record in kept]
    )
    reference.write(folder, sample)


def patients_known(prepared: Prepared, role: Role) -> bool:
    """Return whether the patients of all positive images of a role are known, as a certificate by patient needs."""
    return all(record.names_patient for record in _records(prepared, role) if record.label)


def _records(prepared: Prepared, role: Role) -> list[ImageRecord]:
    """Return the records of a role in the order of its arrays' rows."""
    found = [prepared.manifest.records[index] for index in prepared.split.indices(role)]
    return sorted(found, key=lambda record: record.path)
