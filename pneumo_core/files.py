"""Folders and files that are either whole or not there, whatever is killed and however many build at once."""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pneumo_core.errors import StorageError

LONGEST_NAME_BYTES = 100  # file systems take 255, suffixes included


def build_once(folder: Path, build: Callable[[Path], None], is_whole: Callable[[Path], bool]) -> Path:
    """Return `folder`, made by `build(temporary folder)` unless `is_whole(folder)` holds already.

    A builder works in a temporary folder beside `folder` and renames it, so no process sees half a folder. A lock file
    makes a second builder wait for the first. Any temporary folder found while holding it was left by a builder that
    died. A folder that is not whole is replaced. Processes that have mapped its files keep them.
    Raises `StorageError` where the place can't be written or is full.
    """
    if is_whole(folder):
        return folder
    with storage_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(folder.with_name(f"{folder.name}.lock")) as alone:
            if not is_whole(folder):
                if alone:
                    _clean(folder)
                _build(folder, build)
    return folder


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Make the file `path` whole by `write(temporary path)`, which has the same suffix, and a rename."""
    temporary = path.with_name(f"{path.stem}.tmp-{uuid.uuid4().hex}{path.suffix}")
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Move a folder aside in one step, then delete it; another process may be faster."""
    aside = _temporary(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def digest(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def check_free(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Raise `StorageError` unless an output can be written to `path`: nothing is there, or what this program wrote.

    A link is never followed, and never one of ours.
    """
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not is_ours(path)):
        raise StorageError(
            f"`{path}` is there already and not an earlier output of this command, so it stays; choose another place"
        )


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise `StorageError` unless the disk of `folder`, which exists, has room for `needed_bytes`."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StorageError(
            f"no room in `{folder}`: {_say(needed_bytes)} needed, {_say(free)} free; free some or choose another folder"
        )


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` of writing under `folder` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageError(f"the disk of `{folder}` is full; free some of it or choose another folder") from error
        raise StorageError(
            f"can't write to `{folder}`: {error.strerror or error}; choose a cache folder that can be written"
        ) from error


def names_folder(text: str) -> bool:
    """Return whether `text` names one folder on any file system, which stays where it is put and can be read."""
    is_plain = text.isprintable() and text[:1] not in ("", ".") and not {"/", "\\"} & {*text}
    return is_plain and len(text.encode()) <= LONGEST_NAME_BYTES


def is_full(error: OSError) -> bool:
    """Return whether `error` says that a disk or a quota on it is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _say(n_bytes: float) -> str:
    """Return a size as people write it."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    temporary = _temporary(folder)
    try:
        temporary.mkdir()
        build(temporary)
        remove_folder(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clean(folder: Path) -> None:
    for left_over in folder.parent.glob(f"{folder.name}.tmp-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex}")


@contextlib.contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on `path`, which the system releases when this process dies. Yield whether it is held."""
    with path.open("w") as file:
        yield _locked(file)


def _locked(file: IO[str]) -> bool:
    if sys.platform == "win32":  # two builders may then do the same work, and one result is thrown away
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks: the rename still keeps folders whole
        return False
    return True
