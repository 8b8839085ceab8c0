"""The processor time of a first scan, by parts, and what it would take to read plain files in helper processes, too.

    python -m benchmarks.scanning FOLDER [--images 800] [--repeats 5] [--json FILE]

FOLDER has class folders. "threads" is how plain files are read: digests, headers, thumbnails. "helpers" reads the same
in as many helper processes (`pneumo_core.helper`), 32 files a call, their start included: a scan starts in a process
that has none. "look-alikes" and "altered copies" compare the thumbnails.
"""

import resource
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core import helper
from pneumo_core.data import altered, duplicates, folders, inspection
from pneumo_core.data.inspection import Look
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import silent

A_CALL = 32


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=800)
    asked = parser.parse_args()
    files = folders.images_in(asked.folder)
    chosen = files[:: max(1, len(files) // asked.images)][: asked.images]
    looked = [look for look in look_at_all(chosen) if not look.facts.reason]  # fills the page cache
    digests, thumbnails = [look.facts.digest for look in looked], np.stack([look.thumbnail for look in looked])
    sides = {
        "threads": lambda: _cpu_s(lambda: [*map_in_order(_look, chosen, what="", on_progress=silent)]),
        "helpers": lambda: _cpu_s(lambda: _in_helpers(chosen)),
        "look-alikes": lambda: _cpu_s(lambda: duplicates.looks(digests, thumbnails)),
        "altered copies": lambda: _cpu_s(lambda: altered.copies(thumbnails, digests)),
    }
    found = measure.in_turn(sides, asked.repeats)
    rows = [Row(name=name, values=values) for name, values in found.items()]
    rows.append(Row(name="helpers ÷ threads", values=measure.ratios(found["helpers"], found["threads"]), unit="times"))
    title = f"First scan of {len(chosen)} images, processor time"
    measure.publish(title, rows, environment=measure.machine(), file=asked.json)


def look_at_all(files: Sequence[Path]) -> list[Look]:
    """Look into files, one after the other; what a helper is asked for."""
    return [_look(file) for file in files]


def _look(file: Path) -> Look:
    return inspection.inspect_file(file)


def _in_helpers(files: Sequence[Path]) -> list[Look]:
    calls = [files[start : start + A_CALL] for start in range(0, len(files), A_CALL)]
    found = [*map_in_order(_call, calls, what="", on_progress=silent)]
    helper._HELPERS.close()
    return [*chain.from_iterable(found)]


def _call(files: Sequence[Path]) -> list[Look]:
    from benchmarks import scanning  # under its own name, which a helper finds

    return helper.call(scanning.look_at_all, files, n_bytes=2**30)


def _cpu_s(work: Callable[[], object]) -> float:
    """Return the processor time of a call, that of processes that it ended included."""

    before = _used_s()
    work()
    return _used_s() - before


def _used_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(of.ru_utime + of.ru_stime for of in used)


if __name__ == "__main__":
    main()
