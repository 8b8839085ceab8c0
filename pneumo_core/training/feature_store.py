"""Arrays of features kept as memory-mapped files, bounded in size: what was used longest ago is removed first.

    <cache>/features/<key>/ features.npy (n, ...) float32 · meta.json with its shape, size and digest

They are float32: as float16 they would take half the room, but move scores by 4.5e-5 (measured on EfficientNet-Lite0 in
three epochs), more than the 1e-5 within which they must be those of training on pixels. Pooled features of 5,216 images
take 27 MB. Keras isn't needed here.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core import files
from pneumo_core.errors import StorageError

LIMIT_VARIABLE = "PNEUMO_FEATURES_GB"
DEFAULT_LIMIT_GB = 20.0  # of 10**9 bytes: some 90 augmented trials at 5,216 images, 1280 features and 8 views
SHARE = 0.5  # of the room that a disk has for features; the rest is for checkpoints, results, other programs
_ARRAY, _META = "features.npy", "meta.json"

Features = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One kept array."""

    folder: Path
    n_bytes: int
    used_at: float  # seconds since 1970


def folder_in(cache_dir: Path) -> Path:
    """Return where features are kept, beside the arrays."""
    return cache_dir / "features"


def limit_bytes() -> int:
    """Return how much may be kept; the user's `PNEUMO_FEATURES_GB`, where 0 keeps nothing, or the default."""
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = math.nan
    if not 0 <= limit_gb < math.inf:
        raise StorageError(f"`{LIMIT_VARIABLE}` must be a number of gigabytes, 0 or more, got {text!r}")
    return int(limit_gb * 10**9)


def n_bytes(shape: tuple[int, ...]) -> int:
    """Return what features of `shape` take."""
    return math.prod(shape) * np.dtype(np.float32).itemsize


def open_or_build(folder: Path, key: str, shape: tuple[int, ...], parts: Iterable[Features]) -> Features:
    """Return the array `key` of `folder`, made by writing `parts` one after another where it isn't there whole.

    `parts` is consumed only if it must be. One process builds, others wait for it. Every byte is checked against its
    digest: that costs less than the one epoch that reads them all. Raises `StorageError` where the array doesn't fit.
    """
    place = folder / key

    def build(temporary: Path) -> None:
        _make_room(folder, n_bytes(shape))
        _write(temporary, shape, parts)

    files.build_once(place, build, lambda there: _is_whole(there, shape))
    try:
        os.utime(place / _META)
        kept: Features = np.load(place / _ARRAY, mmap_mode="r", allow_pickle=False)
    except OSError as error:  # somebody else needed the room just now
        raise StorageError(f"`{place}` can't be read: {error}") from error
    return kept


def entries(folder: Path) -> list[Entry]:
    """Return what is kept in `folder`, the one used longest ago first."""
    found = []
    for place in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # removed at this moment
            if ".tmp-" not in place.name and place.is_dir():
                size, used_at = (place / _ARRAY).stat().st_size, (place / _META).stat().st_mtime
                found.append(Entry(folder=place, n_bytes=size, used_at=used_at))
    return sorted(found, key=lambda entry: entry.used_at)


def _make_room(folder: Path, needed_bytes: int) -> None:
    """Remove what was used longest ago until `needed_bytes` fit under the limit and into their share of the disk.

    Processes that have mapped a file keep it. Raises `StorageError` where they can't fit.
    """
    limit = limit_bytes()
    if needed_bytes > limit:
        raise StorageError(
            f"features of {needed_bytes / 1e9:.3g} GB are more than the {limit / 1e9:.3g} GB that may be kept; "
            f"raise {LIMIT_VARIABLE}"
        )
    kept = entries(folder)
    total = sum(entry.n_bytes for entry in kept)
    share = int(SHARE * (shutil.disk_usage(folder).free + total))
    if needed_bytes > share:  # other things fill the disk: what is kept stays of use
        raise StorageError(
            f"no room in `{folder}`: {needed_bytes / 1e9:.3g} GB of features are more than half of what is free; "
            "free some or choose another folder"
        )
    for entry in kept:
        if total + needed_bytes <= min(limit, share):
            return
        files.remove_folder(entry.folder)
        total -= entry.n_bytes


def _write(folder: Path, shape: tuple[int, ...], parts: Iterable[Features]) -> None:
    """Write piece by piece: a write to a full disk fails, a store to a mapped file would kill us."""
    with (folder / _ARRAY).open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            stream.write(np.ascontiguousarray(part, np.float32).tobytes())
    text = json.dumps({**_facts(folder / _ARRAY), "shape": list(shape)})
    (folder / _META).write_text(text, "utf-8")


def _is_whole(folder: Path, shape: tuple[int, ...]) -> bool:
    try:
        meta = json.loads((folder / _META).read_text("utf-8"))
        return bool(meta == {**_facts(folder / _ARRAY), "shape": list(shape)})
    except (OSError, ValueError):
        return False


def _facts(file: Path) -> dict[str, Any]:
    return {"n_bytes": file.stat().st_size, "digest": files.digest(file)}
