"""A decoder that crashes at one file: `python -m tests.pneumo_core.data.crashing SOURCE CACHE` scans a folder with it.

It prints the reason of each file by its name, as JSON.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

from pneumo_core.data import folders, inspection, reading
from pneumo_core.progress import silent

CRASHES = b"this makes the decoder crash"
_usual = inspection.look_into


def look_into(source: Path | bytes, *args: Any) -> inspection.Look:
    if CRASHES in reading.read_bytes(source):
        signal.raise_signal(signal.SIGSEGV)  # at this thread, as a fault in memory is
    return _usual(source, *args)


def main(source: Path, cache: Path) -> None:
    from tests.pneumo_core.data import crashing  # under its own name, which a helper finds

    inspection.look_into = crashing.look_into
    found = list(folders.Walk(root=source, tally=folders.Tally()).files(source))
    facts, _ = inspection.inspect_all(source, found, cache, silent)
    print(json.dumps({entry.path: fact.reason for entry, fact in zip(found, facts, strict=True)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
