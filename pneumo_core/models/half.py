"""Saved networks with kernels of half precision: half the bytes, where no score shows it.

Only the file is smaller. Whoever loads it, Keras or `forward`, computes in float32 as before.
"""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pneumo_core.models import forward
from pneumo_core.models.described import WEIGHTS

TOLERANCE = 1e-3  # of a score
LARGEST = float(np.finfo(np.float16).max)


def halve(file: Path, x: npt.NDArray[np.uint8], *, tolerance: float = TOLERANCE) -> float | None:
    """Rewrite the kernels of a `.keras` file in half precision unless that moves a score of images `x` (n, h, w, c).

    Returns by how much the scores moved at most; None where it was more than `tolerance`, and the file stayed. To be
    called before a threshold is certified: that must rest on the scores of the file as it stays.
    """
    halved = file.with_name(f"{file.stem}.{os.getpid()}.half.keras")  # Keras insists on the suffix
    try:
        _write(file, halved)
        moved = float(np.abs(forward.of_file(halved).scores(x) - forward.of_file(file).scores(x)).max())
        if not moved <= tolerance:
            return None
        halved.replace(file)
        return moved
    finally:
        halved.unlink(missing_ok=True)


def _write(file: Path, into: Path) -> None:
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(into, "w") as made:
        for entry in archive.infolist():
            content = archive.read(entry)
            made.writestr(entry.filename, _halved(content) if entry.filename == WEIGHTS else content)


def _halved(weights: bytes) -> bytes:
    import h5py

    made = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as old, h5py.File(made, "w") as new:
        new.attrs.update(old.attrs)

        def copy(name: str, found: Any) -> None:
            is_array = isinstance(found, h5py.Dataset)
            copied = new.create_dataset(name, data=_in_half(found[()])) if is_array else new.require_group(name)
            copied.attrs.update(found.attrs)

        old.visititems(copy)
    return made.getvalue()


def _in_half(value: Any) -> Any:
    """Return a kernel in float16; biases, statistics and what doesn't fit into its range as they are."""
    if value.dtype != np.float32 or value.ndim < 2 or np.abs(value).max(initial=0) > LARGEST:
        return value
    return value.astype(np.float16)
