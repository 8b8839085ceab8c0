"""Files from outside read within limits: in this process if their headers bound the cost, else in a helper.

A plain radiograph (nearly all are) is read on this thread: its format, its size and the number of its parts bound what
it can cost, and a helper would take longer to start than to do it. Whatever promises more than that, or nothing, is
read by a helper with `MEMORY_BYTES`. All readers of a process share that memory: no more of them work at a time than
fit in.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pneumo_core import helper
from pneumo_core.data import dicom, parts, reading
from pneumo_core.data.dicom_layout import EXPLICIT, IMPLICIT, JPEG_BASELINE
from pneumo_core.errors import DataError

Result = TypeVar("Result")

MEMORY_BYTES = 640 * 2**20  # with a framework loaded beside it, still below 1.5 GiB
PLAIN_PIXELS = 2**24
PLAIN_BYTES = 64 * 2**20  # of the file
MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the whole image; programs write about 10
_PLAIN_FORMATS = {"JPEG": 6, "PNG": 12, "BMP": 8, "WEBP": 12}  # bytes a pixel that their decoding takes
_PLAIN_SYNTAXES = (EXPLICIT, IMPLICIT, JPEG_BASELINE)
_DICOM_BYTES = 10  # a pixel
_UNBOUNDED = (  # their headers alone, TIFF's and JPEG 2000's, may hold millions of entries
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)
_PACKED = 8  # times the size of such a file that its pixels may have; more is found out by trying
_SHARE_BYTES = 160 * 2**20  # of a helper, at least


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What reading a file takes, by its header. Plain: no more than that, and little."""

    n_bytes: int
    is_plain: bool


def read(function: Callable[..., Result], path: Path, *args: Any) -> Result:
    """Return `function(source, *args)`, where `source` is the bytes of the file or its path.

    `function` is one of a module, for a helper to find. Raises `DataError`: its own, or for a file that is too much.
    """
    if os.environ.get(helper.APART):
        return read_apart(function, path, *args)
    if reading.size_of(path) > PLAIN_BYTES:
        cost = Cost(n_bytes=MEMORY_BYTES, is_plain=False)
    else:
        data = reading.read_bytes(path)
        cost = cost_of(data)
        if cost.is_plain:
            with _MEMORY.held(cost.n_bytes):
                return function(data, *args)
        del data
    return _in_helper(function, path, args, max(_SHARE_BYTES, cost.n_bytes))


def read_apart(function: Callable[..., Result], path: Path, *args: Any) -> Result:
    """Return what `read` does, worked out in a helper whatever the file is."""
    return _in_helper(function, path, args, _SHARE_BYTES)


def cost_of(data: bytes) -> Cost:
    """Return what reading a file of these bytes takes; raises `DataError` where it is no image."""
    if dicom.is_dicom(data):
        where = dicom.layout(data)
        if where is None:
            return Cost(n_bytes=MEMORY_BYTES, is_plain=False)
        n_pixels = where.rows * where.columns
        known = where.syntax in _PLAIN_SYNTAXES and n_pixels <= PLAIN_PIXELS
        is_plain = known and dicom.is_baseline(data, where)
        return Cost(n_bytes=min(MEMORY_BYTES, 2 * len(data) + _DICOM_BYTES * n_pixels), is_plain=is_plain)
    if data.startswith(_UNBOUNDED) or not parts.are_followed(data):
        return Cost(n_bytes=min(MEMORY_BYTES, _PACKED * len(data)), is_plain=False)
    head = reading.header(data)
    n_pixels = head.width_px * head.height_px
    known = head.format in _PLAIN_FORMATS and n_pixels <= PLAIN_PIXELS
    is_plain = known and not (head.is_progressive and _has_many_scans(data))
    n_bytes = len(data) + _PLAIN_FORMATS.get(head.format, 16) * n_pixels
    return Cost(n_bytes=min(MEMORY_BYTES, n_bytes), is_plain=is_plain)


def _in_helper(function: Callable[..., Result], path: Path, args: tuple[Any, ...], n_bytes: int) -> Result:
    """Read with a share of the memory; a failure counts only with all of it: some decoders fail without saying why."""
    if n_bytes < MEMORY_BYTES:
        try:
            with _MEMORY.held(n_bytes):
                return helper.call(function, path, *args, n_bytes=n_bytes)
        except helper.TooLong:
            raise
        except DataError:
            pass
    with _MEMORY.held(MEMORY_BYTES):
        return helper.call(function, path, *args, n_bytes=MEMORY_BYTES)


def _has_many_scans(data: bytes) -> bool:
    return data.count(b"\xff\xda") > MAX_SCANS


class _Memory:
    """What all readers of this process share."""

    def __init__(self, n_bytes: int) -> None:
        self._free = self._all = n_bytes
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def held(self, n_bytes: int) -> Iterator[None]:
        """Wait until `n_bytes` are free, at most all there are, and keep them for the block."""
        n_bytes = min(n_bytes, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= n_bytes)
            self._free -= n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free += n_bytes
                self._changed.notify_all()


_MEMORY = _Memory(MEMORY_BYTES)
