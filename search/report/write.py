"""From a stored study to `DIR/report.html`."""

from pathlib import Path

import optuna

from pneumo_core import files
from pneumo_core.errors import UserError
from pneumo_core.progress import Progress, silent
from search.home import Home
from search.prepared import Prepared
from search.report import source as sources
from search.report.data import ReportData
from search.report.evidence import Options, OverlaysFor
from search.report.gather import GIVE_DATA, gather
from search.report.page import render
from search.storage import artifacts

FILE = "report.html"


def make(
    study: optuna.Study,
    storage_url: str,
    home: Home,
    *,
    data: str | None = None,
    usual_data: str | None = None,
    overlays_for: OverlaysFor | None = None,
    progress: Progress = silent,
) -> ReportData:
    """Gather the report of `study`.

    `data` names its images and must be right: raises `DataError` or `StudyError` otherwise. `usual_data`, which the
    study's file names, is tried when `data` is None; if it doesn't serve, the report says why and goes without.
    """
    prepared, why = _prepared(study, home, data, usual_data, progress)
    store = artifacts.store(home.artifacts)
    options = Options(overlays_for=overlays_for, progress=progress)
    return gather(study, storage_url, store, prepared=prepared, no_data=why, options=options)


def write(data: ReportData, folder: Path) -> Path:
    """Write the page into `folder` and return the file. Raises `StorageError` where it can't be written."""
    file = folder / FILE
    text = render(data)
    files.write_file(file, lambda path: path.write_text(text, "utf-8"))
    return file


def _prepared(
    study: optuna.Study, home: Home, data: str | None, usual_data: str | None, progress: Progress
) -> tuple[Prepared | None, str]:
    if data is not None:
        return sources.read(study, data, home, progress), ""
    if usual_data is None:
        return None, GIVE_DATA
    try:
        return sources.read(study, usual_data, home, progress), ""
    except UserError as error:
        return None, f"{GIVE_DATA} ({str(error).splitlines()[0].rstrip(':')})"
