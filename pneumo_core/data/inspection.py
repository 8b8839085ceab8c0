"""Look into every file of a source once: header, digest, thumbnail; remembered per file, so a second scan is quick."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core import codec, files
from pneumo_core.data import dicom, duplicates, reading
from pneumo_core.data.sources import Found
from pneumo_core.errors import DataError
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress

_VERSION = 1  # of what is remembered; a new one forgets everything
_DECODE_PX = 2 * duplicates.THUMBNAIL_PX
_NO_THUMBNAIL = np.zeros((duplicates.THUMBNAIL_PX, duplicates.THUMBNAIL_PX), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one file turned out to be. With a `reason`, it can't be used and the rest means nothing."""

    reason: str = ""
    width_px: int = 0
    height_px: int = 0
    mode: str = ""
    digest: str = ""
    patient: str = ""  # digest of a DICOM file's patient identifier


def inspect_all(
    root: Path, found: Sequence[Found], cache_dir: Path, on_progress: Progress
) -> tuple[list[Facts], NDArray[np.uint8]]:
    """Return the facts (n) and thumbnails (n, 32, 32) of the `found` files, opening only new and changed ones."""
    memory = cache_dir / "scans" / f"{codec.digest([str(root.resolve()), _VERSION])}.npz"
    known = _recall(memory)
    fresh = [entry for entry in found if _key(entry) not in known]
    looked = map_in_order(
        lambda entry: inspect_file(root / entry.path, entry.problem),
        fresh,
        what="reading images",
        on_progress=on_progress,
    )
    known.update(zip(map(_key, fresh), looked, strict=True))
    results = [known[_key(entry)] for entry in found]
    if fresh:
        _remember(memory, [_key(entry) for entry in found], results)
    return [facts for facts, _ in results], np.stack([thumb for _, thumb in results] or [_NO_THUMBNAIL])[: len(found)]


def inspect_file(path: Path, problem: str | None = None) -> tuple[Facts, NDArray[np.uint8]]:
    """Return the facts and the thumbnail of one file; whatever is wrong with it becomes the reason."""
    try:
        if problem:
            raise DataError(problem)
        data = reading.read_bytes(path)
        head = reading.header(data)
        thumb = duplicates.thumbnail(reading.decode(data, channels=1, at_least_px=_DECODE_PX))
        patient = dicom.patient_digest(data) if head.format == "DICOM" else ""
    except DataError as error:
        return Facts(reason=str(error)), _NO_THUMBNAIL
    facts = Facts(
        width_px=head.width_px, height_px=head.height_px, mode=head.mode, digest=content_digest(data), patient=patient
    )
    return facts, thumb


def content_digest(data: bytes) -> str:
    """Return the 32 hexadecimal characters that name a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _key(entry: Found) -> tuple[str, int, int, str]:
    return entry.path, entry.size, entry.mtime_ns, entry.problem or ""


def _recall(memory: Path) -> dict[Any, tuple[Facts, NDArray[np.uint8]]]:
    """Return what is remembered; nothing where the memory is missing or damaged."""
    try:
        with memory.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            rows, thumbs = json.loads(stored["facts"].tobytes()), stored["thumbnails"]
        return {tuple(key): (Facts(**facts), thumb) for (key, facts), thumb in zip(rows, thumbs, strict=True)}
    except Exception:  # a cache: whatever is wrong with it, it is made anew
        return {}


def _remember(memory: Path, keys: list[Any], results: list[tuple[Facts, NDArray[np.uint8]]]) -> None:
    rows = [[key, asdict(facts)] for key, (facts, _) in zip(keys, results, strict=True)]
    facts = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    thumbs = np.stack([thumb for _, thumb in results])

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, facts=facts, thumbnails=thumbs)

    files.write_file(memory, write)
