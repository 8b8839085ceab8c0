"""Files that belong to a trial, kept beside the database as Optuna artifacts."""

import json
import re
import tempfile
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta, upload_artifact
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from pneumo_core import codec
from pneumo_core.result import TrialResult

RESULT = "result.json"
_ID = re.compile(r"[0-9a-f-]{1,64}")


def store(folder: Path) -> FileSystemArtifactStore:
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(folder)


def save_result(artifact_store: FileSystemArtifactStore, trial: optuna.Trial, result: TrialResult) -> None:
    """Keep the whole result (training curves, validation scores); only possible while the trial runs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / RESULT
        file.write_text(json.dumps(codec.to_json(result)))
        upload_artifact(artifact_store=artifact_store, file_path=str(file), study_or_trial=trial)


def load_result(
    artifact_store: FileSystemArtifactStore, trial: FrozenTrial, storage: BaseStorage
) -> TrialResult | None:
    """Return what `save_result` kept of a finished trial, None when there is nothing.

    Raises `ArtifactNotFound` where the file isn't here, `ValueError` where it, or what the database says of it, is
    damaged.
    """
    try:
        metas = get_all_artifact_meta(trial, storage=storage)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the list of files of trial {trial.number} is damaged: {error}") from error
    for meta in metas:
        if not isinstance(meta.artifact_id, str) or _ID.fullmatch(meta.artifact_id) is None:
            raise ValueError(f"`artifact_id` must be one that Optuna gives, got {meta.artifact_id!r}")
        if meta.filename == RESULT:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / RESULT
                download_artifact(artifact_store=artifact_store, file_path=str(file), artifact_id=meta.artifact_id)
                return codec.from_json(TrialResult, codec.parse(file.read_bytes()))
    return None
