"""The chosen networks of one finalize, apart from what another finalize of the study may train anew meanwhile."""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pneumo_core.errors import PneumoError, StorageError
from pneumo_core.files import storage_errors
from search.executors.station import PREFIX, claim
from search.finalizing.choose import Choice, Member

LIMIT_BYTES = 2 * 10**9  # of networks that finalizes of a study trained


@contextmanager
def own_copies(choice: Choice, folder: Path, write: Callable[[Member, Path], None]) -> Iterator[Choice]:
    """Yield `choice` with copies of its networks, so that those are shipped whose threshold was certified.

    `write(member, file)` makes one. Copies that a killed finalize left in `folder` are removed.
    """
    own = folder.absolute() / f"{PREFIX}{uuid.uuid4().hex}"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        alive = claim(own)
    try:
        copies: list[Path] = []
        for position, member in enumerate(choice.members):
            with _kept(member), storage_errors(folder):
                write(member, copy := own / f"{position}.keras")
                copies.append(copy)
        members = zip(choice.members, copies, strict=True)
        yield replace(choice, members=tuple(replace(member, network=copy) for member, copy in members))
    finally:
        alive.close()
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _kept(member: Member) -> Iterator[None]:
    """Raise `StorageError` if the network is gone: a search that is running keeps only those of its best trials."""
    try:
        yield
    except PneumoError as error:
        if member.network.exists():
            raise
        raise StorageError(
            f"the network of trial {member.candidate.trial} was removed meanwhile, by a search that found better ones; "
            "give the same command again"
        ) from error


def tidy(folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
    """Remove the oldest networks of a folder beyond `limit_bytes`; a finalize that wants one trains it again."""
    found: list[tuple[float, int, Path]] = []
    for file in folder.glob("*.keras"):
        with contextlib.suppress(FileNotFoundError):  # another finalize removes some at this moment
            facts = file.stat()
            found.append((facts.st_mtime, facts.st_size, file))
    taken = 0
    for _, size, file in sorted(found, reverse=True):
        taken += size
        if taken > limit_bytes:
            file.unlink(missing_ok=True)
