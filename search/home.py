"""The folder that holds all that a search leaves: database, array cache, checkpoints, artifacts, logs.

Every path below it is made here. What a database says, such as a study's name, becomes the name of one folder and never
a path, so that nothing is written or deleted outside.
"""

import hashlib
import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from pneumo_core.errors import StorageError
from pneumo_core.files import names_folder

DEFAULT = "runs"
PRIVATE = 0o700  # patients' images are in there
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Home:
    """`path` is made when something is first written; other users of the machine can not read a new one."""

    path: Path

    @property
    def storage_url(self) -> str:
        """The database's URL; what means something in a URL, such as `?` and `%`, is escaped."""
        return URL.create("sqlite", database=str(self.path / "pneumo.db")).render_as_string()

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    def logs(self, study: str) -> Path:
        """Return the folder of the logs of all trainers of a study."""
        return self.path / "logs" / folder_name(study)

    def finalizing(self, study: str) -> Path:
        """Return the folder of what finalizing a study leaves, absolute."""
        return (self.path / "finalize" / folder_name(study)).absolute()

    def checkpoints(self, study: str, uid: str) -> Path:
        """Return the folder of a study's checkpoints; a study made anew has another, wherever it is stored.

        Raises `ValueError` for an id that this program did not give.
        """
        return self._of_one_study("checkpoints", study, uid)

    def _of_one_study(self, what: str, study: str, uid: str) -> Path:
        if not is_id(uid):
            raise ValueError(f"`uid` must be 16 hexadecimal digits, got {uid!r}")
        return self.path / what / f"{folder_name(study)}-{uid}"

    def make(self) -> None:
        """Make the folder, for this user alone. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=PRIVATE, exist_ok=True)

    def networks(self, study: str, uid: str) -> Path:
        """Return the folder of the networks that a study's best trials left; raises as `checkpoints` does."""
        return self._of_one_study("networks", study, uid)

    def check_writable(self) -> None:
        """Raise `StorageError` at once when the folder can't be written, rather than after the first trial."""
        try:
            self.make()
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"x")
        except OSError as error:
            raise StorageError(
                f"folder {self.path} can't be written: {error.strerror}; --home names another"
            ) from error


def new_id() -> str:
    """Return an id for a new study."""
    return uuid.uuid4().hex[:16]


def is_id(text: object) -> bool:
    """Return whether `text` is an id that `new_id` may have given."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def folder_name(name: str) -> str:
    """Return the name of the one folder that belongs to `name`, itself where it can name a folder.

    Any other text, which only another program can have stored, gives the readable part of it and its digest.
    """
    if names_folder(name):
        return name
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')[:40] or 'study'}-{digest}"
