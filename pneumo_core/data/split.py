"""Give every image its role: train, validation, calibration, test, or excluded.

`patient_grouped`, the default: patients and images that look the same stay together. An official `test/` is the test
role and its `val/` joins the rest; what shares a patient or a look with the official test is excluded. Shares hold per
class and, within a class, per kind. Which images go where depends on the seed and the contents alone, not on the
order, names or place of the files.

`per_image_random` pools everything and draws image by image, as the original project did. IT LEAKS siblings and copies
of test images into training; it exists only to reproduce published figures.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pneumo_core import codec
from pneumo_core.data import naming
from pneumo_core.data.duplicates import SMALL_SET
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.source_spec import JOINED_BY
from pneumo_core.data.sources import role_named
from pneumo_core.errors import DataError, StorageError
from pneumo_core.files import storage_errors
from pneumo_core.specs import SplitSpec

Role = Literal["train", "validation", "calibration", "test", "excluded"]

USED_ROLES: tuple[Role, ...] = ("train", "validation", "calibration", "test")
EXCLUDED: Role = "excluded"
LEAK_WARNING = "per_image_random LEAKS images of one patient across roles: compare its figures with published ones only"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Roles and groups, aligned with `manifest.records`. No group is in two roles, unless the protocol leaks."""

    roles: tuple[Role, ...]
    groups: tuple[str, ...]  # patients and look-alikes together, named by the first patient
    spec: SplitSpec
    digest: str  # of the spec and of each content's role
    notes: tuple[str, ...] = ()
    n_unknown_patients: int = 0  # images whose patient isn't known, each a patient of its own

    @property
    def patients_known(self) -> bool:
        """Whether the patient of every image is known; else there are no figures by patient."""
        return self.n_unknown_patients == 0

    @property
    def leaks(self) -> bool:
        """Whether images of one patient may be in several roles."""
        return self.spec.protocol == "per_image_random"

    def indices(self, role: Role) -> tuple[int, ...]:
        return tuple(index for index, of_image in enumerate(self.roles) if of_image == role)


@dataclass(frozen=True, kw_only=True)
class RoleCount:
    """The images of one role by class, and its groups: patients, and look-alikes with them."""

    role: Role
    n_negative: int
    n_positive: int
    n_groups: int
    n_positive_groups: int  # with at least one positive image

    @property
    def n_images(self) -> int:
        return self.n_negative + self.n_positive


def role_counts(manifest: Manifest, split: Split) -> tuple[RoleCount, ...]:
    """Count the images of every role that has some."""

    def count(role: Role) -> RoleCount:
        found = [(manifest.records[index].label, split.groups[index]) for index in split.indices(role)]
        groups, positive = {group for _, group in found}, [group for label, group in found if label]
        return RoleCount(
            role=role,
            n_negative=len(found) - len(positive),
            n_positive=len(positive),
            n_groups=len(groups),
            n_positive_groups=len(set(positive)),
        )

    return tuple(count(role) for role in (*USED_ROLES, EXCLUDED) if role in split.roles)


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """Images that must share a role."""

    members: tuple[int, ...]
    key: str  # a hash of seed and contents: the order in which units are dealt
    label: int
    kind: str


def assign_roles(manifest: Manifest, spec: SplitSpec) -> Split:
    """Return the roles of `manifest.records` under `spec`.

    Raises `DataError` where a role would have no image of a class.
    """
    groups = grouped(manifest.records)
    if spec.protocol == "per_image_random":
        shares = _shares(spec, official_test=False)
        roles = _deal([_unit(manifest.records, [i], spec.seed) for i in range(len(groups))], shares, len(groups))
        notes = [LEAK_WARNING, _say_leak(roles, groups)]
    else:
        roles, notes, shares = _assign_grouped(manifest, groups, spec)
    notes += [*patient_notes(manifest), *_say_looks(manifest)]
    _check(manifest, roles, shares)
    dealt = sorted([record.path, record.digest, role] for record, role in zip(manifest.records, roles, strict=True))
    return Split(
        roles=tuple(roles),
        groups=groups,
        spec=spec,
        digest=codec.digest([spec, dealt, groups_digest(manifest, groups)]),
        notes=tuple(notes),
        n_unknown_patients=manifest.n_unknown_patients,
    )


def patient_notes(manifest: Manifest) -> list[str]:
    """Return how patients are known, and for how many images they aren't."""
    how = [f"patients are known by {manifest.patients}"] if manifest.patients else []
    n_unknown, n = manifest.n_unknown_patients, len(manifest.records)
    unknown = (
        f"{n_unknown} of {n} images name no patient: each counts as a patient of its own, so that other "
        "images of the same patient may be in other roles, and figures by patient are by image"
    )
    return [*how, *([unknown] if n_unknown else [])]


def _say_leak(roles: Sequence[Role], groups: Sequence[str]) -> str:
    """Return how many test images have a sibling or a copy among the training images."""
    trained = {group for role, group in zip(roles, groups, strict=True) if role == "train"}
    tested = [group for role, group in zip(roles, groups, strict=True) if role == "test"]
    n_known = sum(group in trained for group in tested)
    return f"{n_known} of {len(tested)} test images share a patient or a look with a training image"


def _say_looks(manifest: Manifest) -> list[str]:
    """Return what is unusual about the images that look the same."""
    sizes = Counter(look for look, _ in {(record.look, record.digest) for record in manifest.records})
    large = [n for n in sizes.values() if n > SMALL_SET]
    plural = "s" if len(large) > 1 else ""
    whole = f"{len(large)} set{plural} of more than {SMALL_SET} images that look the same, {sum(large)} images in all, "
    n = manifest.n_divided_looks
    divided = (
        f"{n} images look like more than a fifth of all images: only the closest of them share a role, so that changed "
        "copies of one image may be in several roles"
    )
    apart = f"{manifest.n_apart} images are altered copies of more than a fifth of all images: they do not share a role"
    told = [(large, f"{whole}each set in one role"), (n, divided), (manifest.n_apart, apart)]
    return [text for holds, text in told if holds]


def grouped(records: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Return the group of each record: connected by patient, look or altered copies, named by its first patient."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    for record in records:
        for also in (("look", record.look), ("look", record.family or record.look)):
            patient, look = root(("group", record.group)), root(also)
            parent[max(patient, look)] = min(patient, look)  # the smallest node, a patient, ends up as the root
    return tuple(root(("group", record.group))[1] for record in records)


def write_links(manifest: Manifest, split: Split, folder: Path) -> Path:
    """Write `folder`/role/class/file links to the images, excluded ones left out; returns `folder`.

    Hard links where the file system allows them, which can be scanned like any folder; else symbolic links, which
    `--follow-links` reads. Folders below the class folder are kept: they may name the patient. Raises `StorageError`
    where `folder` has something in it already.
    """
    source = Path(manifest.source)
    if not source.is_dir():
        raise DataError(f"`{source}` is not a folder of files: only such images can be linked")
    with storage_errors(folder):
        if folder.exists() and any(folder.iterdir()):
            raise StorageError(f"`{folder}` must be empty or new; choose another folder")
        for record, role in zip(manifest.records, split.roles, strict=True):
            if role != "excluded":
                of_class = folder / role / manifest.class_name(record.label).replace(JOINED_BY, " and ")
                _link(source / record.path, of_class / _below_class(manifest, record.path), record.digest)
    return folder


def _below_class(manifest: Manifest, path: str) -> PurePosixPath:
    """Return a path below the folders of role and class: the folders that are left may name the patient."""
    parts = list(PurePosixPath(path).parts)
    classes = {naming.key(name) for label in (0, 1) for name in manifest.class_name(label).split(JOINED_BY)}
    while len(parts) > 1 and (role_named(parts[0]) or naming.key(parts[0]) in classes):
        parts.pop(0)
    return PurePosixPath(*parts)


def _link(source: Path, target: Path, digest: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):  # the same name in two official folders
        target = target.with_name(f"{source.stem}-{digest[:8]}{source.suffix}")
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or none with hard links
        target.symlink_to(source.resolve())


def _assign_grouped(
    manifest: Manifest, groups: tuple[str, ...], spec: SplitSpec
) -> tuple[list[Role], list[str], dict[Role, float]]:
    records = manifest.records
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    tested = {group for record, group in zip(records, groups, strict=True) if record.official_role == "test"}
    shares = _shares(spec, official_test=bool(tested))
    free = [_unit(records, of_group, spec.seed) for group, of_group in members.items() if group not in tested]
    roles = _deal(free, shares, len(records))
    for index, group in enumerate(groups):
        if group in tested:
            roles[index] = "test" if records[index].official_role == "test" else "excluded"
    n_excluded = roles.count("excluded")
    notes = ["the official test folder is the test role"] if tested else []
    if n_excluded:
        notes.append(f"{n_excluded} images excluded: they share a patient or a look with the official test folder")
    return roles, notes, shares


def _shares(spec: SplitSpec, *, official_test: bool) -> dict[Role, float]:
    shares: dict[Role, float] = {"validation": spec.validation, "calibration": spec.calibration}
    if not official_test:
        shares["test"] = spec.test
    wanted: dict[Role, float] = {role: share for role, share in shares.items() if share > 0}
    return {**wanted, "train": 1.0 - sum(wanted.values())}


def _unit(records: Sequence[ImageRecord], members: Iterable[int], seed: int) -> _Unit:
    rows = sorted(members, key=lambda index: (records[index].digest, records[index].path))
    (label, kind), _ = max(
        Counter((records[i].label, records[i].kind) for i in rows).items(), key=lambda item: (item[1], item[0])
    )
    contents = ",".join(records[i].digest for i in rows)
    key = hashlib.blake2b(f"{seed}:{contents}".encode(), digest_size=16).hexdigest()
    return _Unit(members=tuple(rows), key=f"{key} {records[rows[0]].path}", label=label, kind=kind)


def _deal(units: Sequence[_Unit], shares: Mapping[Role, float], n_images: int) -> list[Role]:
    """Return the role of each image: class by class, kind by kind, each unit to the role that lacks most images.

    A kind inherits what the one before it left over, so a class is never further from its shares than about one unit.
    While a class has barely as many units as it has roles without one, only those roles get any.
    """
    roles: list[Role] = ["train"] * n_images
    for label in sorted({unit.label for unit in units}):
        of_class = [unit for unit in units if unit.label == label]
        lacking = dict.fromkeys(shares, 0.0)
        bare = list(shares)
        n_left = len(of_class)
        for kind in sorted({unit.kind for unit in of_class}):
            of_kind = sorted((unit for unit in of_class if unit.kind == kind), key=lambda unit: unit.key)
            n_of_kind = sum(len(unit.members) for unit in of_kind)
            for role, share in shares.items():
                lacking[role] += share * n_of_kind
            for unit in of_kind:
                role = max(bare if n_left <= len(bare) else shares, key=lacking.__getitem__)
                lacking[role] -= len(unit.members)
                bare = [other for other in bare if other != role]
                n_left -= 1
                for index in unit.members:
                    roles[index] = role
    return roles


def _check(manifest: Manifest, roles: Sequence[Role], shares: Mapping[Role, float]) -> None:
    counts = Counter((role, record.label) for role, record in zip(roles, manifest.records, strict=True))
    for role in USED_ROLES:
        if role not in shares and role != "test":
            continue
        for label in (0, 1):
            if not counts[role, label]:
                have = ", ".join(f"{name} {counts[name, label]}" for name in USED_ROLES)
                raise DataError(
                    f"role `{role}` would have no image of class `{manifest.class_name(label)}` "
                    f"({manifest.n_of_class(label)} images; {have}); add images of more patients, "
                    "or set the share of a role that isn't needed to 0"
                )


def groups_digest(manifest: Manifest, groups: Sequence[str]) -> str:
    """Return a digest of the group of each content."""
    return codec.digest(sorted([record.digest, group] for record, group in zip(manifest.records, groups, strict=True)))
