"""What a model card says beyond its bundle: where the images came from, and what was searched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from pneumo_core.data.manifest import Manifest
from pneumo_core.data.split import EXCLUDED, RoleCount, role_counts
from search import records, stored
from search.prepared import Prepared

_KERMANY = re.compile(r"(person\d+_(bacteria|virus)_\d+|(NORMAL2-)?IM-\d+-\d+.*)\.jpe?g$", re.IGNORECASE)
KERMANY_SHARE = 0.95  # of file names that must be the archive's, of at least:
KERMANY_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the card says beyond the bundle."""

    roles: tuple[RoleCount, ...]
    is_kermany: bool
    is_phantom: bool
    leaks: bool
    split_notes: tuple[str, ...]
    n_rejected: int
    definition: Mapping[str, Any]  # sampler, pruner, budget
    space: Mapping[str, str]
    n_complete: int
    n_pruned: int
    n_failed: int


def facts(study: optuna.Study, prepared: Prepared) -> Facts:
    """Gather what `card` needs from a stored study and its data."""
    manifest, split = prepared.manifest, prepared.split
    summary = records.summarise(study, "sqlite:///-")
    known = stored.read(study)
    return Facts(
        roles=tuple(of for of in role_counts(manifest, split) if of.role != EXCLUDED),
        is_kermany=is_kermany(manifest),
        is_phantom=manifest.is_synthetic,
        leaks=split.leaks,
        split_notes=split.notes,
        n_rejected=len(manifest.rejected),
        definition=known.definition,
        space=known.space,
        n_complete=summary.n_complete,
        n_pruned=summary.n_pruned,
        n_failed=summary.n_failed,
    )


def is_kermany(manifest: Manifest) -> bool:
    """Return by number and names of the files whether this is the archive of Kermany et al. 2018, or a large part."""
    named = sum(bool(_KERMANY.match(record.path.rsplit("/", 1)[-1])) for record in manifest.records)
    return len(manifest.records) >= KERMANY_IMAGES and named >= KERMANY_SHARE * len(manifest.records)
