"""Which files are being read: where a decoder's crash ends the program, the next one knows what to be careful with.

Plain files are decoded on threads (`bounded`), which a crash would end with the whole program. What was being read then
is read in a helper process by the next scan, so that a crash costs one command and afterwards one file.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BEGUN, _ENDED = "+", "-"


class Journal:
    """Lines about the files of one scan, each written at once: the system keeps them when the program crashes.

    `suspects` are the files that were begun and not ended when it was opened. Without a place to write to, nothing is
    noted. Scans at the same time share a journal: each may take what the other reads for suspects, and reads it in a
    helper, which costs time only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.suspects = _unfinished(path)
        self._file: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Note that a file is being read, until the block ends."""
        self._note(_BEGUN, name)
        try:
            yield
        finally:
            self._note(_ENDED, name)

    def close(self) -> None:
        """End the journal, when no thread reads any more; what was not read after all stays in it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not _unfinished(self._path):
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _note(self, what: str, name: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk
                self._file.write(f"{what}{json.dumps(name)}\n".encode())


def _unfinished(path: Path) -> frozenset[str]:
    """Return the files whose last line says that they were begun."""
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    last = {line[1:]: line[:1] for line in lines}
    return frozenset(name for text, what in last.items() if what == _BEGUN and (name := _name(text)))


def _name(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:  # cut off, or damaged
        return ""
    return found if isinstance(found, str) else ""
