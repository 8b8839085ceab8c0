"""Look into every file of a source once: header, digest, thumbnail; remembered per file, so a second scan is quick."""

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core import codec, files
from pneumo_core.data import bounded, dicom, duplicates, reading, rows
from pneumo_core.data.folders import Entry
from pneumo_core.data.journal import Journal
from pneumo_core.data.scanned import Scanned
from pneumo_core.errors import DataError
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress
from pneumo_core.specs import DataSpec

_VERSION = 4  # of what is remembered; a new one forgets everything
_CLOCK_NS = 2_000_000_000  # how coarse the clock of a file system may be (FAT: 2 s)
_NO_THUMBNAIL = np.zeros((duplicates.THUMBNAIL_PX, duplicates.THUMBNAIL_PX), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one file turned out to be. With a `reason`, it can't be used and the rest means nothing."""

    reason: str = ""
    width_px: int = 0
    height_px: int = 0
    mode: str = ""
    digest: str = ""
    note: str = ""  # which rules of the file could not be followed, and what was done instead
    patient: str = ""  # digest of a DICOM file's patient identifier


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one decoding of a file gives."""

    facts: Facts
    thumbnail: NDArray[np.uint8]  # (32, 32)
    rows: Mapping[DataSpec, NDArray[np.uint8]] = field(default_factory=dict)  # of arrays


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A file as it was when it was looked at."""

    entry: Entry
    facts: Facts
    thumbnail: NDArray[np.uint8]


def inspect_all(
    root: Path, found: Sequence[Entry], cache_dir: Path, on_progress: Progress, scanned: Scanned | None = None
) -> tuple[list[Facts], NDArray[np.uint8]]:
    """Return the facts (n) and thumbnails (n, 32, 32) of the `found` files, decoding only new and changed ones.

    A file is the same where path, size, times of change and inode are. Where only size and modification time are, or
    where it changed while it was looked at last, its digest decides. `scanned` keeps the rows of decoded files.
    """
    memory = cache_dir / "scans" / f"{codec.digest([str(root.resolve()), _VERSION])}.npz"
    began_ns = time.time_ns()
    known, seen_ns = _recall(memory)
    if fresh := [entry for entry in found if not _is_same(entry, known.get(entry.path), seen_ns)]:
        kept = scanned or Scanned()
        with contextlib.closing(Journal(memory.with_suffix(".reading"))) as journal:
            kept.begin(memory.parent, len(fresh))
            wanted = kept.specs
            look = map_in_order(
                lambda entry: _look(root, entry, known.get(entry.path), journal, wanted),
                fresh,
                what="reading images",
                on_progress=on_progress,
            )
            with contextlib.closing(look) as looked:  # its threads have ended before the journal does
                for entry, seen in zip(fresh, looked, strict=True):
                    known[entry.path] = _Seen(entry=entry, facts=seen.facts, thumbnail=seen.thumbnail)
                    kept.add(seen.facts.digest, seen.rows)
    results = [known[entry.path] for entry in found]
    if fresh:
        _remember(memory, results, began_ns)
    thumbnails = np.stack([seen.thumbnail for seen in results] or [_NO_THUMBNAIL])
    return [seen.facts for seen in results], thumbnails[: len(found)]


def _is_same(entry: Entry, seen: _Seen | None, seen_ns: int) -> bool:
    """Return whether a file is certainly the one that was seen."""
    return seen is not None and entry == seen.entry and entry.ctime_ns < seen_ns - _CLOCK_NS


def _look(root: Path, entry: Entry, seen: _Seen | None, journal: Journal, wanted: Sequence[DataSpec]) -> Look:
    """Return what a file is, without decoding where its digest is known."""
    if seen is not None and (entry.size, entry.mtime_ns, entry.problem) == (
        seen.entry.size,
        seen.entry.mtime_ns,
        seen.entry.problem,
    ):
        with contextlib.suppress(DataError):
            if content_digest(reading.read_bytes(root / entry.path)) == seen.facts.digest:
                return Look(facts=seen.facts, thumbnail=seen.thumbnail)
    with journal.reading(entry.path):
        return inspect_file(root / entry.path, entry.problem, wanted, apart=entry.path in journal.suspects)


def inspect_file(
    path: Path, problem: str | None = None, wanted: Sequence[DataSpec] = (), *, apart: bool = False
) -> Look:
    """Return what one file is, with rows as `look_into` has them; whatever is wrong with it becomes the reason.

    `apart`: in a helper process, whatever the file is.
    """
    try:
        if problem:
            raise DataError(problem)
        return (bounded.read_apart if apart else bounded.read)(look_into, path, wanted)
    except DataError as error:
        return Look(facts=Facts(reason=str(error)), thumbnail=_NO_THUMBNAIL)


def look_into(source: Path | bytes, wanted: Sequence[DataSpec] = ()) -> Look:
    """Return what one file or its bytes is, with a row for each of `wanted`, which must be decoded as here.

    Raises `DataError` for what isn't an image.
    """
    data = reading.read_bytes(source)
    head = reading.header(data)
    image, note = reading.decode_noted(data, channels=1, at_least_px=rows.DECODED_PX)
    facts = Facts(
        width_px=head.width_px,
        height_px=head.height_px,
        mode=head.mode,
        digest=content_digest(data),
        note=note,
        patient=dicom.patient_digest(data) if head.format == "DICOM" else "",
    )
    made = {spec: rows.resized(image, spec) for spec in wanted}
    return Look(facts=facts, thumbnail=duplicates.thumbnail_of(image), rows=made)


def decode_same(source: Path | bytes, digest: str, channels: int, at_least_px: int | None) -> NDArray[np.uint8]:
    """Return the pixels of a file, see `reading.decode`, whose bytes have this digest; raises `DataError`."""
    data = reading.read_bytes(source)
    if content_digest(data) != digest:
        raise DataError("has other contents")
    return reading.decode(data, channels=channels, at_least_px=at_least_px)


def content_digest(data: bytes) -> str:
    """Return the 32 hexadecimal characters that name a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _recall(memory: Path) -> tuple[dict[str, _Seen], int]:
    """Return what is remembered by path, and when it was seen; nothing where the memory is missing or damaged."""
    try:
        with memory.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            rows, thumbs = json.loads(stored["facts"].tobytes()), stored["thumbnails"]
            seen_ns = int(stored["seen_ns"])
        seen = [
            _Seen(entry=Entry(**entry), facts=Facts(**facts), thumbnail=thumb)
            for (entry, facts), thumb in zip(rows, thumbs, strict=True)
        ]
        return {of_file.entry.path: of_file for of_file in seen}, seen_ns
    except Exception:  # a cache: whatever is wrong with it, it is made anew
        return {}, 0


def _remember(memory: Path, results: list[_Seen], seen_ns: int) -> None:
    rows = [[asdict(seen.entry), asdict(seen.facts)] for seen in results]
    facts = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    thumbs = np.stack([seen.thumbnail for seen in results])

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, facts=facts, thumbnails=thumbs, seen_ns=np.int64(seen_ns))

    files.write_file(memory, write)
