"""From a stored study to its dashboard, ready to be served."""

from functools import lru_cache
from pathlib import Path

import optuna

from pneumo_core.errors import UserError
from pneumo_core.progress import Progress, silent
from pneumo_core.specs import DataSpec
from search import stored, stored_trials
from search.dashboard import app, definition
from search.dashboard.app import Wsgi
from search.dashboard.pictures import Labels, Pictures
from search.dashboard.review import ReviewStorage
from search.home import Home
from search.report import source
from search.report.data import Validation
from search.storage import artifacts


def find_labels(
    study: optuna.Study, home: Home, data: str | None, usual_data: str | None, progress: Progress = silent
) -> tuple[Labels | None, str]:
    """Return the labels of the study's validation images, or None and why there are none.

    `data` must be right: raises `DataError` or `StudyError` otherwise. `usual_data`, which the study's file names, is
    tried when `data` is None.
    """
    if data is None and usual_data is None:
        return None, "give --data the images that the study was launched with"
    try:
        prepared = source.read(study, data or usual_data or "", home, progress)
    except UserError as error:
        if data is not None:
            raise
        return None, str(error).splitlines()[0].rstrip(":")

    @lru_cache(maxsize=8)
    def validation(spec: DataSpec) -> Validation:
        return source.images(prepared, spec, stored.read(study).folds).validation

    manifest = prepared.manifest
    return Labels(of=validation, classes=(manifest.negative, manifest.positive), folder=Path(manifest.source)), ""


def dashboard(study: optuna.Study, home: Home, labels: Labels | None) -> Wsgi:
    """Return the dashboard of `study` as a WSGI application. Raises `StudyError` for a study of another program."""
    stored_trials.trials_of(study)  # a damaged one is named here rather than shown as an empty page
    storage = study._storage
    files = artifacts.store(home.artifacts)
    pictures = Pictures(files, storage, study._study_id, stored.read(study).objective, labels)
    review = ReviewStorage(storage, study._study_id, note=definition.note(study), artifacts_of=pictures.of)
    return app.make(review, pictures)


def address(port: int, study: optuna.Study) -> str:
    """Return where a browser finds the study's note, from which all else is a click away."""
    return f"http://{app.LOOPBACK}:{port}/dashboard/studies/{study._study_id}/note"
