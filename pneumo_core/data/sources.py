"""Find the candidate files of a folder source, and say what is wrong with a folder that isn't one."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pneumo_core.data.manifest import OfficialRole
from pneumo_core.errors import DataError

ROLE_FOLDERS: dict[str, OfficialRole] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "calibration": "val",  # written by `split.write_links`
    "test": "test",
}
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})


@dataclass(frozen=True, kw_only=True)
class Found:
    """A directory entry among the images. `problem` says why it must not be opened."""

    path: str  # relative to the source, with forward slashes
    label: int
    official_role: OfficialRole | None
    size: int
    mtime_ns: int
    problem: str | None = None


def find(root: Path, negative: str, positive: str) -> list[Found]:
    """Return every file in the class folders of `root`, sorted by path.

    The class folders are looked for under `train/`, `val/` and `test/` and, where these have none, in `root` itself.
    Hidden files and what operating systems leave behind are passed over; links out of the folder are a problem.
    Raises `DataError` naming what is there for a folder that isn't in this layout.
    """
    if not root.is_dir():
        raise DataError(f"`{root}` {'is not a folder' if root.exists() else 'does not exist'}{_siblings(root)}")
    classes = _class_folders(root, negative, positive)
    found = [
        entry
        for folder, label, role in classes
        for entry in _files(str(folder), folder.relative_to(root).as_posix(), root.resolve(), label, role)
    ]
    return sorted(found, key=lambda entry: entry.path)


def _class_folders(root: Path, negative: str, positive: str) -> list[tuple[Path, int, OfficialRole | None]]:
    places: list[tuple[Path, OfficialRole | None]] = [
        (folder, ROLE_FOLDERS[folder.name.casefold()])
        for folder in _folders(root)
        if folder.name.casefold() in ROLE_FOLDERS
    ]
    for candidates in (places, [(root, None)]):
        classes = [
            (folder, label, role)
            for place, role in candidates
            for label, name in ((0, negative), (1, positive))
            if (folder := _named(place, name)) is not None
        ]
        if {label for _, label, _ in classes} == {0, 1}:
            return classes
        if classes:
            missing = negative if classes[0][1] == 1 else positive
            raise DataError(f"`{root}` has no class folder `{missing}`{_remedy(root)}")
    raise DataError(f"`{root}` has neither class folder `{negative}` nor `{positive}`{_remedy(root)}")


def _named(place: Path, name: str) -> Path | None:
    """Return the folder `name` in `place`: exactly so, else in another case."""
    folders = _folders(place)
    same = [folder for folder in folders if folder.name == name]
    alike = [folder for folder in folders if folder.name.casefold() == name.casefold()]
    return next(iter(same + alike), None)


def _folders(place: Path) -> list[Path]:
    return sorted(entry for entry in _subfolders(place) if not _leaves(entry, place.resolve()))


def _subfolders(place: Path) -> list[Path]:
    return [entry for entry in place.iterdir() if not _is_litter(entry.name) and entry.is_dir()]


def _leaves(path: Path, real_root: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(real_root)


def _remedy(root: Path) -> str:
    places = [root, *(folder for folder in _folders(root) if folder.name.casefold() in ROLE_FOLDERS)]
    seen = sorted({_described(folder, root.resolve()) for place in places for folder in _subfolders(place)})
    there = f"folders there: {', '.join(seen)}" if seen else "there are no folders in it"
    inner = next((f for f in _folders(root) if any(g.name.casefold() in ROLE_FOLDERS for g in _folders(f))), None)
    hint = f"; did you mean `{inner}`?" if inner else "; name the two class folders with `negative` and `positive`"
    return f"; {there}{hint}"


def _described(folder: Path, real_root: Path) -> str:
    return f"{folder.name} (a link that leaves the folder)" if _leaves(folder, real_root) else folder.name


def _siblings(root: Path) -> str:
    parent = root.parent
    if not parent.is_dir():
        return f"; nor does `{parent}`"
    names = [folder.name for folder in _folders(parent)]
    return f"; folders in `{parent}`: {', '.join(names[:10])}" if names else f"; `{parent}` has no folders"


def _files(folder: str, within: str, real_root: Path, label: int, role: OfficialRole | None) -> Iterator[Found]:
    """Yield what is in `folder`, whose path relative to the source is `within`. Strings: `Path` is 5 times slower."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{within}/{entry.name}"
            if _is_litter(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, path, real_root, label, role)
                continue
            problem = _problem(entry, real_root)
            stat = entry.stat(follow_symlinks=problem is None)
            yield Found(
                path=path,
                label=label,
                official_role=role,
                size=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
                problem=problem,
            )


def _problem(entry: "os.DirEntry[str]", real_root: Path) -> str | None:
    if entry.is_symlink():
        try:
            target = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):
            return "is a broken link"
        if not target.is_relative_to(real_root):
            return "is a link that leaves the folder"
    if not entry.is_file():
        return "is not a regular file"
    return None


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _LITTER
