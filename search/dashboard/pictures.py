"""The artifact store of the dashboard: the study's own files, and pictures drawn on request."""

import io
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from pneumo_core.errors import PneumoError, StorageError
from pneumo_core.result import TrialResult
from pneumo_core.specs import DataSpec, ObjectiveSpec
from search import stored_trials
from search.dashboard import drawings
from search.dashboard.presented import JUDGED, Artifact
from search.report.data import Validation
from search.report.svg import Picture
from search.storage import artifacts

N_CACHED = 256  # drawn pictures, some 50 kB each
KINDS = ("roc", "confusion", "errors", "training")
LABELLED = KINDS[:3]  # those that need the labels of the validation images
_ID = re.compile(r"([0-9])-([0-9a-f]+)")  # position in KINDS, trial id; Optuna's own ids are UUIDs


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The validation role of the study's images, as trials of a `DataSpec` saw it."""

    of: Callable[[DataSpec], Validation]
    classes: tuple[str, str]  # negative, positive
    folder: Path  # of the images' files


class Pictures:
    """Optuna's protocol of an artifact store over `files`; writing raises `StorageError`.

    Without `labels` only the training curves can be drawn. One thread draws at a time, because Matplotlib's settings
    are global.
    """

    def __init__(
        self,
        files: FileSystemArtifactStore,
        storage: BaseStorage,
        study_id: int,
        objective: ObjectiveSpec,
        labels: Labels | None,
    ) -> None:
        self._files, self._storage, self._study_id = files, storage, study_id
        self._objective, self._labels = objective, labels
        self._name = storage.get_study_name_from_id(study_id)
        self._drawing = threading.Lock()
        self._cached = lru_cache(maxsize=N_CACHED)(self._draw)

    def of(self, trial: FrozenTrial) -> Iterator[Artifact]:
        """Yield the pictures that can be asked for of `trial`."""
        if trial.state not in JUDGED or "n_epochs" not in trial.user_attrs:
            return
        for position, kind in enumerate(KINDS):
            if self._labels or kind not in LABELLED:
                identity = f"{position}-{trial._trial_id:x}"
                yield Artifact(artifact_id=identity, filename=f"{kind}.svg", mimetype="image/svg+xml")

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the file; raises `ArtifactNotFound` as Optuna's stores do."""
        asked = _ID.fullmatch(artifact_id)
        if asked is None:
            return self._files.open_reader(artifact_id)
        if int(asked[1]) >= len(KINDS):
            raise ArtifactNotFound(artifact_id)
        with self._drawing:
            return io.BytesIO(self._cached(KINDS[int(asked[1])], int(asked[2], 16)))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        raise StorageError("this view of the study is read-only")

    def remove(self, artifact_id: str) -> None:
        raise StorageError("this view of the study is read-only")

    def _draw(self, kind: str, trial_id: int) -> bytes:
        return drawings.file(self._picture(kind, trial_id))

    def _picture(self, kind: str, trial_id: int) -> Picture:
        trial = self._storage.get_trial(trial_id)
        result = self._result(trial)
        if result is None:
            where = "They are kept in the home folder of the machine that ran it."
            return drawings.apology((f"The scores and curves of trial {trial.number} are not here.", where))
        if kind == "training":
            return drawings.training(trial.number, result)
        try:
            return self._draw_labelled(kind, trial, result)
        except (PneumoError, ValueError) as error:
            return drawings.apology(("This can't be drawn:", str(error)[:100]))

    def _draw_labelled(self, kind: str, trial: FrozenTrial, result: TrialResult) -> Picture:
        if self._labels is None:
            raise ValueError("the study's images are not known")
        validation = self._labels.of(stored_trials.data_of(self._name, trial))
        if len(result.scores) != len(validation.y):
            raise ValueError(f"{len(result.scores)} stored scores, {len(validation.y)} validation images")
        if kind == "roc":
            return drawings.roc(validation, result, self._objective)
        if kind == "confusion":
            return drawings.confusion(validation, result, self._objective, self._labels.classes)
        return drawings.errors(validation, result, self._labels.folder)

    def _result(self, trial: FrozenTrial) -> TrialResult | None:
        """Return what the trial, or the one whose result it repeats, left; None where the file isn't here."""
        origin = trial.user_attrs.get("repeats")
        try:
            if isinstance(origin, int):
                trial = self._storage.get_trial(
                    self._storage.get_trial_id_from_study_id_trial_number(self._study_id, origin)
                )
            return artifacts.load_result(self._files, trial, self._storage)
        except (ArtifactNotFound, KeyError, ValueError):
            return None
