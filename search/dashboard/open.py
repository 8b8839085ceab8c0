"""From a stored study to its dashboard, ready to be served."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import optuna

from pneumo_core import codec
from pneumo_core.errors import StudyError, UserError
from pneumo_core.progress import Progress, silent
from pneumo_core.specs import DataSpec, ObjectiveSpec
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
        return source.images(prepared, spec, source.n_folds(study)).validation

    return Labels(of=validation, classes=(prepared.manifest.negative, prepared.manifest.positive)), ""


def dashboard(study: optuna.Study, home: Home, labels: Labels | None) -> Wsgi:
    """Return the dashboard of `study` as a WSGI application. Raises `StudyError` for a study of another program."""
    storage = study._storage
    files = artifacts.store(home.artifacts)
    pictures = Pictures(files, storage, study._study_id, _objective(study.user_attrs, study.study_name), labels)
    review = ReviewStorage(storage, study._study_id, note=definition.note(study), artifacts_of=pictures.of)
    return app.make(review, pictures)


def address(port: int, study: optuna.Study) -> str:
    """Return where a browser finds the study's note, from which all else is a click away."""
    return f"http://{app.LOOPBACK}:{port}/dashboard/studies/{study._study_id}/note"


def _objective(attrs: Mapping[str, Any], name: str) -> ObjectiveSpec:
    try:
        return codec.from_json(ObjectiveSpec, attrs["objective"])
    except (KeyError, ValueError) as error:
        raise StudyError(f"study {name!r} was not made by this program: {error}") from error
