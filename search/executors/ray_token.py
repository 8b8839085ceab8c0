"""The token of a cluster that Ray starts for us: whoever has it can run code as this user.

A head of Ray listens on all interfaces, whatever address it is given (2.60), so the token alone keeps others out.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

ELSEWHERE = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # the user's own arrangement
PRIVATE = 0o600


def make_private(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Make the token where Ray looks for it, readable by this user only: the one that Ray makes is readable by all.

    Nothing is made where the environment says which cluster or token is used. Raises `OSError`.
    """
    if any(environ.get(name) for name in ELSEWHERE):
        return
    file = (folder or Path.home() / ".ray") / "auth_token"
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(made, "w") as stream:
            stream.write(secrets.token_hex(32))
    file.chmod(PRIVATE)
