"""The token of a cluster that Ray starts for us: anyone who has it can run code as this user.

A head of Ray listens on all interfaces, whatever address it is given (2.60), so the token alone keeps others out.
"""

import contextlib
import os
import secrets
import tempfile
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
    with tempfile.NamedTemporaryFile("w", dir=file.parent) as stream:  # readable by this user only
        stream.write(secrets.token_hex(32))
        stream.flush()
        with contextlib.suppress(FileExistsError):
            os.link(stream.name, file)  # whole at once: another launch may read it at any moment
    file.chmod(PRIVATE)
