"""Find the candidate files of a folder with class folders, and say what is wrong with a folder that has none.

A class folder is found whatever its Unicode form or case, and several may be one class. What isn't read is counted:
masks, folders of other classes, class folders beside `train/`, files that are in none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumo_core.data import naming
from pneumo_core.data.folders import Entry, Tally, Walk, all_subfolders, count
from pneumo_core.data.manifest import LeftOut, OfficialRole
from pneumo_core.errors import DataError
from pneumo_core.text import inline

_ROLE_WORDS: Mapping[str, OfficialRole] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    "calibration": "val",  # written by `split.write_links`
    **dict.fromkeys(("test", "testing"), "test"),
}
_ROLE_NAME = re.compile(rf"({'|'.join(_ROLE_WORDS)})([ _-]?(set|data|images?))?")
TABLE_ENDINGS = (".csv", ".tsv")
_OUTSIDE = "in no class folder"
_MOST_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file among the images, with its label. `within` is its path below the class folder, or below the source."""

    entry: Entry
    label: int
    official_role: OfficialRole | None
    kind: str  # the folder or the value that gave the label
    within: str
    patient: str = ""  # what a table says

    @property
    def path(self) -> str:
        return self.entry.path


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Every candidate of a source by path, and what was left out."""

    found: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _ClassFolder:
    folder: Path
    label: int
    role: OfficialRole | None


def find(root: Path, negatives: Sequence[str], positives: Sequence[str], *, follow_links: bool = False) -> Sighting:
    """Return every file in the class folders of `root`, sorted by path.

    The class folders are looked for under `train/`, `val/` and `test/` and, where these have none, in `root` itself.
    Links out of the folder are a problem unless `follow_links`. Raises `DataError` naming what is there for a folder
    that isn't in this layout.
    """
    walk = walk_in(root, follow_links)
    names = (tuple(negatives), tuple(positives))
    classes = _class_folders(walk, names)
    found = [file for of_class in classes for file in _files(walk, of_class)]
    _tally_unread(walk, [of_class.folder for of_class in classes])
    return Sighting(
        found=tuple(sorted(found, key=lambda file: file.path)),
        left_out=walk.tally.left_out(),
        notes=tuple(_several(walk.root, classes)),
    )


def walk_in(root: Path, follow_links: bool) -> Walk:
    """Return the walk over `root`; raises `DataError` naming what is beside it where it isn't a folder."""
    if not root.is_dir():
        raise DataError(f"`{root}` {'is not a folder' if root.exists() else 'does not exist'}{_siblings(root)}")
    return Walk(root=root, tally=Tally(), follow_links=follow_links)


def role_named(name: str) -> OfficialRole | None:
    """Return the official role that a folder or a cell names, such as `train`, `Training` or `test_set`."""
    match = _ROLE_NAME.fullmatch(naming.key(name.strip()))
    return _ROLE_WORDS[match[1]] if match else None


def role_of(path: str) -> OfficialRole | None:
    """Return the official role that the first two folders of a relative path name."""
    return next((role for part in path.split("/")[:-1][:2] if (role := role_named(part))), None)


def _files(walk: Walk, of_class: _ClassFolder) -> Iterator[Found]:
    prefix = len(of_class.folder.relative_to(walk.root).as_posix()) + 1
    for entry in walk.files(of_class.folder):
        yield Found(
            entry=entry,
            label=of_class.label,
            official_role=of_class.role,
            kind=of_class.folder.name,
            within=entry.path[prefix:],
        )


def _class_folders(walk: Walk, names: tuple[tuple[str, ...], tuple[str, ...]]) -> list[_ClassFolder]:
    root = walk.root
    places: list[tuple[Path, OfficialRole | None]] = [
        (folder, role) for folder in walk.subfolders(root) if (role := role_named(folder.name))
    ]
    for candidates in (places, [(root, None)]):
        classes = [
            _ClassFolder(folder=folder, label=label, role=role)
            for place, role in candidates
            for label, of_class in enumerate(names)
            for folder in _named(walk, place, of_class)
        ]
        if {found.label for found in classes} == {0, 1}:
            return classes
        if classes:
            missing = names[1 - classes[0].label]
            raise DataError(f"`{root}` has no class folder {_or(missing)}{_remedy(walk)}")
    raise DataError(f"`{root}` has neither class folder {_or(names[0])} nor {_or(names[1])}{_remedy(walk)}")


def _named(walk: Walk, place: Path, names: Sequence[str]) -> list[Path]:
    wanted = {naming.key(name) for name in names}
    return [folder for folder in walk.subfolders(place) if naming.key(folder.name) in wanted]


def _several(root: Path, classes: Sequence[_ClassFolder]) -> Iterator[str]:
    """Say which class folders of one place are read as one class though only their case or Unicode form differs."""
    by_key: dict[tuple[Path, str], list[str]] = {}
    for found in classes:
        by_key.setdefault((found.folder.parent, naming.key(found.folder.name)), []).append(found.folder.name)
    for (place, _), folders in by_key.items():
        if len(folders) > 1:
            yield f"read as one class: {', '.join(f'`{inline(name)}/`' for name in folders)} in `{inline(place)}`"


def _tally_unread(walk: Walk, read: Sequence[Path]) -> None:
    """Count what lies beside the class folders that are read."""
    places = {folder.parent for folder in read}
    for place in sorted(places | {walk.root}):
        for folder in all_subfolders(place):
            if folder in read or folder in places:
                continue
            if n := count(folder):
                walk.tally.add(*_unread(walk, folder, beside=walk.root not in places), n)
        for file in sorted(place.iterdir()):
            if file.is_file() and not naming.is_litter(file.name):
                walk.tally.add(*_loose(walk.root, file))


def _unread(walk: Walk, folder: Path, *, beside: bool) -> tuple[str, str]:
    """Return why a folder isn't read, and its path."""
    shown = f"{folder.relative_to(walk.root).as_posix()}/"
    if walk.leaves(folder):
        return "a link that leaves the folder; --follow-links reads it", shown
    if naming.is_mask_folder(folder.name):
        return "masks beside images", shown
    if role_named(folder.name):
        return "a folder without class folders", shown
    if beside and folder.parent == walk.root:
        return "besides `train/`, `val/` and `test/`, which are read", shown
    return f"of no class that is read (--positive or --negative {folder.name!r} reads it)", shown


def _loose(root: Path, file: Path) -> tuple[str, str]:
    shown = file.relative_to(root).as_posix()
    if naming.ending(file.name) in TABLE_ENDINGS:
        return "a table; --labels reads labels and patients from it", shown
    return (_OUTSIDE if naming.may_be_image(file.name) else "no image"), shown


def _remedy(walk: Walk) -> str:
    root = walk.root
    places = [root, *(folder for folder in walk.subfolders(root) if role_named(folder.name))]
    seen = sorted({_described(walk, folder) for place in places for folder in all_subfolders(place)})
    listed = ", ".join(seen[:_MOST_LISTED]) + (", ..." if len(seen) > _MOST_LISTED else "")
    there = f"folders there: {listed}" if seen else "there are no folders in it"
    if tables := _tables(root):
        return f"; {there}; labels in a table? --labels {tables[0]!r}"
    inner = next((f for f in walk.subfolders(root) if any(role_named(g.name) for g in walk.subfolders(f))), None)
    hint = f"; did you mean `{inner}`?" if inner else "; name the class folders with --negative and --positive"
    return f"; {there}{hint}"


def _tables(root: Path) -> list[str]:
    """Return the tables in `root`, by name; the caller has found no class folders."""
    return sorted(file.name for file in root.iterdir() if file.is_file() and naming.ending(file.name) in TABLE_ENDINGS)


def _described(walk: Walk, folder: Path) -> str:
    return (
        f"{inline(folder.name)} (a link that leaves the folder; --follow-links reads it)"
        if walk.leaves(folder)
        else inline(folder.name)
    )


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _siblings(root: Path) -> str:
    parent = root.parent
    if not parent.is_dir():
        return f"; nor does `{parent}`"
    names = [inline(folder.name) for folder in sorted(all_subfolders(parent))]
    return f"; folders in `{parent}`: {', '.join(names[:_MOST_LISTED])}" if names else f"; `{parent}` has no folders"
