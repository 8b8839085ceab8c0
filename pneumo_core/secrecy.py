"""Which environment variables stay with the process that the user started.

Processes that load models or run a hypermodel need no database and no account; what could open one isn't given to them.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KEPT = frozenset({"PNEUMO_STORAGE", "KAGGLE_USERNAME", "MYSQL_PWD", "SSH_AUTH_SOCK"})
_SECRET = re.compile(r"(^|_)(PASS|PASSWORD|PASSWD|PASSPHRASE|PASSFILE|SECRETS?|TOKENS?|CREDENTIALS?|KEYS?)(_|$)")
_WORD_AND_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_NEEDED = ("RAY_",)  # a cluster's own token: without it nothing of Ray can be reached


def is_secret(name: str, value: str = "") -> bool:
    """Return whether a variable may hold a secret, by its name or because it is an address with a password."""
    upper = name.upper().replace("PGPASS", "PG_PASS").replace("APIKEY", "API_KEY")
    if upper.startswith(_NEEDED) or upper.endswith("_PROXY"):
        return False
    return upper in KEPT or _SECRET.search(upper) is not None or _WORD_AND_PASSWORD.search(value) is not None


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for another process: this one's without secrets, and `more`."""
    return {name: value for name, value in os.environ.items() if not is_secret(name, value)} | dict(more or {})


@contextmanager
def put_aside() -> Iterator[None]:
    """Take the secrets out of this process's environment while something is started that copies all of it."""
    aside = {name: value for name, value in os.environ.items() if is_secret(name, value)}
    for name in aside:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(aside)
