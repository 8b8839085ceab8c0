"""Whether this program can run as it is installed: checked first, so that the error is one sentence."""

import importlib.util
import sys
from pathlib import Path

from pneumo_core.errors import UserError

SYSTEMS = ("linux", "darwin")
_OURS = "Suggest"  # in the source of our own `spaces`


def check() -> None:
    """Raise `UserError` on a system that is not supported, and where another package hides our `spaces`."""
    if sys.platform not in SYSTEMS or not _locks_files():
        raise UserError(
            f"pneumo runs on Linux and macOS, this is {sys.platform!r}; on Windows install and run it inside WSL "
            "(`wsl --install`)"
        )
    found = importlib.util.find_spec("spaces")
    if found is None or found.origin is None or _OURS not in Path(found.origin).read_text("utf-8"):
        raise UserError(
            f"the package `spaces` at {found.origin if found else 'no place'} is not that of pneumo-search: PyPI has "
            "another one of this name (of Hugging Face). Install pneumo-search into a virtual environment of its own, "
            "or run `pip uninstall spaces` and then `pip install --force-reinstall --no-deps pneumo-search`"
        )


def _locks_files() -> bool:
    """Return whether Python has the system's file locks, which Windows lacks."""
    try:
        importlib.import_module("fcntl")
    except ImportError:
        return False
    return True
