"""What tests of stored studies begin with, made once a process: other tests are about how it is made.

Optuna's tables take 0.1 s of processor time, scanned images and drawn spaces half a second.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from pneumo_core.bundles import trace
from pneumo_core.bundles.trace import Traces
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.progress import Progress, silent
from search.home import Home
from search.prepared import Prepared, read_source
from search.storage.database import open_storage
from studies.probing import Probes, probe
from studies.spec import SourceSpec, Space, StudySpec

OF_RECORDS = trace.of_records
_traces: dict[tuple[str, ...], Traces] = {}


def lay_database(file: Path) -> None:
    """Put a database without a study at `file`, unless there is one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty(), file)


@cache
def _empty() -> Path:
    file = Path(tempfile.mkdtemp(prefix="empty-database-")) / "empty.db"
    storage = open_storage(f"sqlite:///{file}")
    storage.remove_session()
    storage.engine.dispose()  # what is still in the log goes to the file
    return file


def prepared(source: SourceSpec) -> Prepared:
    """Return the images of a source as a launch has them: arrays that are there are checked anew."""
    return replace(_read(source), _folders={})


@cache
def _read(source: SourceSpec) -> Prepared:
    return read_source(source, Home(Path(str(source.source)).parent / "cache-of-tests"))


def traces(manifest: Manifest, records: Sequence[ImageRecord], on_progress: Progress = silent) -> Traces:
    """Return what `trace.of_records` does."""
    images = tuple(record.digest for record in records)
    if images not in _traces:
        _traces[images] = OF_RECORDS(manifest, records, on_progress)
    return _traces[images]


@cache
def draws(space: Space) -> Probes:
    """Return what draws of a space show."""
    return probe(StudySpec(name="drawn", space=space))
