"""Validation images under the shifts that a study judges by, kept as arrays like any other."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core import codec, files, shifts
from pneumo_core.data import preprocess
from pneumo_core.data.preprocess import FitArrays

VERSION = 1  # raise it whenever a shift of the same name gives other pixels


def open_shifted(arrays: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the validation images of the folder `arrays`, each under the one of `names` that it is assigned.

    (n, h, w, c) uint8, a memory map, made when first needed. Raises `DataError` where `arrays` isn't whole,
    `StorageError` where the result can't be written.
    """
    images, origin = preprocess.open_fit_arrays(arrays), preprocess.origin_of(arrays)
    place = origin.cache_dir / "shifted" / codec.digest([VERSION, origin.digest, list(names)])

    def build(folder: Path) -> None:
        changed = shifts.apply_assigned(names, np.asarray(images.x_validation))
        np.save(folder / "x.npy", changed, allow_pickle=False)
        (folder / "meta.json").write_text(json.dumps({"digest": files.digest(folder / "x.npy")}), "utf-8")

    files.build_once(place, build, _is_whole)
    kept: NDArray[np.uint8] = np.load(place / "x.npy", mmap_mode="r", allow_pickle=False)
    return kept


def _is_whole(folder: Path) -> bool:
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        return bool(meta["digest"] == files.digest(folder / "x.npy"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def open_fit_arrays(arrays: Path, names: Sequence[str]) -> FitArrays:
    """Return what a trial may see, judged under the shifts `names` as well where there are some."""
    found = preprocess.open_fit_arrays(arrays)
    return replace(found, x_shifted=open_shifted(arrays, names)) if names else found
