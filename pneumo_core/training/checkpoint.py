"""One file that holds a trial in training: arrays and JSON, written atomically, read without pickle."""

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pneumo_core import files

FORMAT = 1
_HEADER = "header"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What `load` gives back of what was saved."""

    state: Any  # JSON-native
    arrays: Mapping[str, np.ndarray]


class UnusableCheckpoint(Exception):
    """There is a file, but not one that this trial can continue from. For the trainer, which then starts over."""


def save(path: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`; a kill at any moment leaves the old file or the new one.

    `identity` names the trial: `load` refuses another one's file.
    """
    header = json.dumps({"format": FORMAT, "identity": identity, "state": checkpoint.state}, allow_nan=False)
    arrays = {**checkpoint.arrays, _HEADER: np.frombuffer(header.encode(), np.uint8)}

    def write(unfinished: Path) -> None:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())

    files.write_file(path, write)


def load(path: Path, identity: str) -> Checkpoint | None:
    """Return the checkpoint at `path`, or None where there is none.

    Raises `UnusableCheckpoint` when the file is damaged, of another format or of another trial.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}  # reading each checks its CRC
        header = json.loads(arrays.pop(_HEADER).tobytes())
        found = header["format"], header["identity"]
        state = header["state"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UnusableCheckpoint(f"{path} is damaged ({type(error).__name__})") from error
    if found != (FORMAT, identity):
        raise UnusableCheckpoint(f"{path} is of another trial or format: {found}, this is {(FORMAT, identity)}")
    return Checkpoint(state=state, arrays=arrays)


def of_part(path: Path) -> Path:
    """Return where a trial that has its own state at `path` keeps that of the training under way."""
    return path.with_name(f"{path.name}.part")


def remove(path: Path) -> None:
    """Remove the checkpoint at `path`, if any, with its part and with what killed writers left beside it.

    Another coordinator may remove them, or their folder, at the same moment.
    """
    left = [path, of_part(path)]
    with contextlib.suppress(FileNotFoundError):
        left += path.parent.glob(f"{path.stem}.tmp-*")
    for file in left:
        file.unlink(missing_ok=True)
