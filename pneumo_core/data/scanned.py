"""Rows of arrays made while files are scanned: a first launch decodes each file once.

Roles, and with them the order of rows, are known after the scan only. Until then the rows are in temporary files, one
for each `DataSpec`, which the system deletes when they are closed or the process ends.
"""

import contextlib
import errno
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data import rows
from pneumo_core.specs import DataSpec

SHARE = 0.5  # of a disk's room at most

Row = NDArray[np.uint8]


class Scanned:
    """Keeps what a scan makes of each file for some `DataSpec`s: those whose pixels are the ones that it decodes."""

    def __init__(self, wanted: Iterable[DataSpec] = ()) -> None:
        served = {data for data in wanted if rows.decoding(data) == (1, rows.DECODED_PX)}
        self._wanted = sorted(served, key=lambda data: (data.image_size_px, data.resize))
        self._kept: dict[DataSpec, _Rows] = {}

    def begin(self, folder: Path, n_files: int) -> None:
        """Open files in `folder` for as many `DataSpec`s as have room there, smallest first."""
        with contextlib.suppress(OSError):  # no place to write to: images are decoded again
            room = SHARE * shutil.disk_usage(folder).free
            for data in self._wanted:
                room -= n_files * int(np.prod(data.shape))
                if room >= 0:
                    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed by `forget`
                    self._kept[data] = _Rows(file, data.shape)

    @property
    def specs(self) -> tuple[DataSpec, ...]:
        """What is to be made of each file."""
        return tuple(self._kept)

    def add(self, digest: str, made: Mapping[DataSpec, Row]) -> None:
        """Keep what was made of the file with this digest; what the disk doesn't take is made again later."""
        for data in made.keys() & self._kept.keys():
            try:
                self._kept[data].add(digest, made[data])
            except OSError:
                self.forget(data)

    def rows(self, data: DataSpec) -> Mapping[str, Row]:
        """Return what is kept for `data`, by the digest of the file."""
        return self._kept.get(data, {})

    def forget(self, data: DataSpec) -> None:
        """Give back the room of what is kept for `data`."""
        if (kept := self._kept.pop(data, None)) is not None:
            kept.close()


class _Rows(Mapping[str, Row]):
    """Rows of one shape in a file, by digest. Threads may read them at the same time."""

    def __init__(self, file: IO[bytes], shape: Sequence[int]) -> None:
        self._file, self._shape, self._n_bytes = file, tuple(shape), int(np.prod(shape))
        self.close = weakref.finalize(self, file.close)  # at the latest when nobody has the rows any more
        self._at: dict[str, int] = {}

    def add(self, digest: str, row: Row) -> None:
        if digest in self._at:
            return
        if self._file.write(row.tobytes()) != self._n_bytes:
            raise OSError(errno.ENOSPC, "a row was written in part")
        self._at[digest] = len(self._at) * self._n_bytes

    def __getitem__(self, digest: str) -> Row:
        found = os.pread(self._file.fileno(), self._n_bytes, self._at[digest])
        return np.frombuffer(found, np.uint8).reshape(self._shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)
