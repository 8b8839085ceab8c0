"""The folder that holds all that a search leaves: database, array cache, checkpoints, artifacts, logs."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import optuna

from pneumo_core.errors import StorageError

DEFAULT = "runs"


@dataclass(frozen=True)
class Home:
    """`path` is made when something is first written."""

    path: Path

    @property
    def storage_url(self) -> str:
        return f"sqlite:///{self.path / 'pneumo.db'}"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def checkpoints(self, study: optuna.Study) -> Path:
        """Return the folder of a study's checkpoints; a study made anew has another, wherever it is stored."""
        return self.path / "checkpoints" / f"{study.study_name}-{study.user_attrs['uid']}"

    def networks(self, study: optuna.Study) -> Path:
        """Return the folder of the networks that a study's best trials left."""
        return self.path / "networks" / f"{study.study_name}-{study.user_attrs['uid']}"

    def check_writable(self) -> None:
        """Raise `StorageError` at once when the folder can't be written, rather than after the first trial."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"x")
        except OSError as error:
            raise StorageError(
                f"folder {self.path} can't be written: {error.strerror}; --home names another"
            ) from error
