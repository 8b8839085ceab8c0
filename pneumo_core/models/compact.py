"""Saved networks in two thirds of the bytes: weights rounded as far as no score shows it, and compressed.

Any program that reads `.keras` files reads these: the weights stay float32, only their last bits are 0. Half precision
would take a little less, but its 10 bits for every weight move some scores of the networks here by more than 1e-3.
"""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pneumo_core.models import archive, forward
from pneumo_core.models.described import WEIGHTS

TOLERANCE = 1e-3  # of a score
BITS = (10, 12, 14, 16, 23)  # of the mantissa of a weight: as in half precision, and so on to all that float32 has


def write(file: Path, into: Path, x: npt.NDArray[np.uint8], *, tolerance: float = TOLERANCE) -> float:
    """Write the network in `file` to `into`, a `.keras` file, with as few bits as move no score by `tolerance`.

    It is copied as it is where only Keras can run it, and where it would be packed closer than `archive` lets pass.
    Scores are those of images `x` (n, h, w, c). Returns by how much they moved at most. The same network and images
    give the same bytes. To be called before a threshold is certified, which rests on the scores of what is kept.
    """
    if (engine := forward.without_keras(file)) is None:
        shutil.copyfile(file, into)
        return 0.0
    before = engine.scores(x)
    for n_bits in BITS:
        _copy(file, into, lambda value, n_bits=n_bits: rounded(value, n_bits))  # type: ignore[misc]
        moved = float(np.abs(forward.of_file(into).scores(x) - before).max(initial=0))
        if moved <= tolerance:
            break
    try:
        archive.check(into)
    except ValueError:
        shutil.copyfile(file, into)
        return 0.0
    return moved


def rounded(values: npt.NDArray[np.float32], n_bits: int) -> npt.NDArray[np.float32]:
    """Return float32 `values` with the nearest mantissa of `n_bits`; the largest may reach infinity."""
    dropped = 23 - n_bits
    if dropped == 0:
        return values
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1 << (dropped - 1))
    return ((bits + half) >> np.uint32(dropped) << np.uint32(dropped)).view(np.float32)


def _copy(file: Path, into: Path, change: Callable[[Any], Any]) -> None:
    with zipfile.ZipFile(file) as packed, zipfile.ZipFile(into, "w") as made:
        for entry in packed.infolist():
            content = packed.read(entry)
            content = _weights(content, change) if entry.filename == WEIGHTS else content
            made.writestr(zipfile.ZipInfo(entry.filename), content)  # without the time of day


def _weights(content: bytes, change: Callable[[Any], Any]) -> bytes:
    import h5py

    made = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as old, h5py.File(made, "w") as new:
        new.attrs.update(old.attrs)

        def copy(name: str, found: Any) -> None:
            is_array = isinstance(found, h5py.Dataset)
            copied = _array(new, name, found[()], change) if is_array else new.require_group(name)
            copied.attrs.update(found.attrs)

        old.visititems(copy)
    return made.getvalue()


def _array(into: Any, name: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """Write an array; kernels are changed and compressed, biases, statistics and numbers are small and stay exact."""
    if value.ndim < 2 or value.dtype != np.float32:
        return into.create_dataset(name, data=value)
    return into.create_dataset(name, data=change(value), compression="gzip", compression_opts=4, shuffle=True)
