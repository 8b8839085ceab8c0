"""Files that belong to a trial, kept beside the database as Optuna artifacts."""

import json
import tempfile
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta, upload_artifact
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from pneumo_core import codec
from pneumo_core.result import TrialResult

RESULT = "result.json"


def store(folder: Path) -> FileSystemArtifactStore:
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(folder)


def save_result(artifact_store: FileSystemArtifactStore, trial: optuna.Trial, result: TrialResult) -> None:
    """Keep the whole result (training curves, validation scores); only possible before the trial is told."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / RESULT
        file.write_text(json.dumps(codec.to_json(result)))
        upload_artifact(artifact_store=artifact_store, file_path=str(file), study_or_trial=trial)


def load_result(
    artifact_store: FileSystemArtifactStore, trial: FrozenTrial, storage: BaseStorage
) -> TrialResult | None:
    """Return what `save_result` kept of a finished trial, None when there is nothing."""
    for meta in get_all_artifact_meta(trial, storage=storage):
        if meta.filename == RESULT:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / RESULT
                download_artifact(artifact_store=artifact_store, file_path=str(file), artifact_id=meta.artifact_id)
                return codec.from_json(TrialResult, json.loads(file.read_text()))
    return None
