"""Walk a folder of images: every file that may be one, and a count of what was passed over and why."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pneumo_core.data import naming
from pneumo_core.data.manifest import LeftOut
from pneumo_core.text import inline

LEAVES = "is a link that leaves the folder"
_MASKS = "masks beside images"
_MOST_COUNTED = 100_000  # of the files in a folder that isn't read
_N_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file. `problem` says why it must not be opened; the numbers change when the file does."""

    path: str  # relative to the source, with forward slashes
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0
    problem: str | None = None


@dataclass(kw_only=True)
class Tally:
    """What is left out, counted by reason as it is met."""

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str, n: int = 1, what: str = "files") -> None:
        of = (reason, what)
        self._counts[of] = self._counts.get(of, 0) + n
        examples = self._examples.setdefault(of, [])
        if len(examples) < _N_EXAMPLES:
            examples.append(inline(example))

    def left_out(self) -> tuple[LeftOut, ...]:
        """Return what was added, the most frequent first."""
        by_count = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            LeftOut(n=n, what=what, reason=reason, examples=tuple(self._examples[reason, what]))
            for (reason, what), n in by_count
        )


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How the folders of one source are walked."""

    root: Path
    tally: Tally
    follow_links: bool = False
    _real_root: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_real_root", self.root.resolve())

    def files(self, folder: Path) -> Iterator[Entry]:
        """Yield the files in `folder` and below. Hidden files and those of operating systems are passed over."""
        within = folder.relative_to(self.root).as_posix()
        stat = folder.stat()
        start = frozenset({(stat.st_dev, stat.st_ino)})
        yield from self._files(str(folder), "" if within == "." else within, start)

    def subfolders(self, place: Path) -> list[Path]:
        """Return the folders in `place` that may be read, sorted."""
        return sorted(entry for entry in all_subfolders(place) if not self.leaves(entry))

    def leaves(self, path: Path) -> bool:
        """Return whether `path` is a link out of the source that isn't followed."""
        return not self.follow_links and path.is_symlink() and not path.resolve().is_relative_to(self._real_root)

    def _files(self, folder: str, within: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
        """Yield what is in `folder`. Strings: `Path` is 5 times slower. `above` ends the circles that links make."""
        listed: list[os.DirEntry[str]] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            listed = [entry for entry in entries if not naming.is_litter(entry.name)]
        stems = {entry.name.rpartition(".")[0] for entry in listed}
        for entry in listed:
            path = f"{within}/{entry.name}" if within else entry.name
            if self._is_folder(entry):
                yield from self._below(entry, path, above)
            elif naming.without_mask(entry.name.rpartition(".")[0]) in stems:
                self.tally.add(_MASKS, path)
            elif (found := self._entry(entry, path)) is not None:
                yield found

    def _below(self, entry: "os.DirEntry[str]", path: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
        if naming.is_mask_folder(entry.name):
            self.tally.add(_MASKS, f"{path}/", count(Path(entry.path)))
            return
        with contextlib.suppress(FileNotFoundError):
            stat = entry.stat()
            if (here := (stat.st_dev, stat.st_ino)) not in above:
                yield from self._files(entry.path, path, above | {here})

    def _is_folder(self, entry: "os.DirEntry[str]") -> bool:
        return entry.is_dir(follow_symlinks=self.follow_links)

    def _entry(self, entry: "os.DirEntry[str]", path: str) -> Entry | None:
        """Return what is known of a file; None where someone removed it since the folder was listed."""
        problem = self._problem(entry)
        try:
            stat = entry.stat(follow_symlinks=problem is None)
        except FileNotFoundError:
            return None
        return Entry(
            path=path,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
            inode=stat.st_ino,
            problem=problem,
        )

    def _problem(self, entry: "os.DirEntry[str]") -> str | None:
        if entry.is_symlink():
            try:
                target = Path(entry.path).resolve(strict=True)
            except (OSError, RuntimeError):
                return "is a broken link; mend or remove it"
            if not self.follow_links and not target.is_relative_to(self._real_root):
                return f"{LEAVES}; --follow-links reads it"
        if not entry.is_file():
            return "is not a regular file; leave it out"
        return None


def all_subfolders(place: Path) -> list[Path]:
    return [entry for entry in place.iterdir() if not naming.is_litter(entry.name) and entry.is_dir()]


def count(folder: Path) -> int:
    """Return the number of files in `folder` and below, at most some 100,000; links aren't followed."""
    n = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not naming.is_litter(name)]
        n += sum(not naming.is_litter(name) for name in files)
        if n > _MOST_COUNTED:
            break
    return n


def images_in(folder: Path) -> list[Path]:
    """Return the files of `folder` and below that may be images, sorted, for scoring without labels."""
    walk = Walk(root=folder, tally=Tally(), follow_links=True)
    return sorted(folder / entry.path for entry in walk.files(folder) if naming.may_be_image(entry.path))
