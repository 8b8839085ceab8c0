"""What the pixels of a source show without learning: brightness, sharpness, borders, and small copies to compare."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.data import dataset, duplicates
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent

SIDE_PX = 224  # at which facts are measured: sharpness depends on the size
_SAME = 4.0  # grey levels: rows and columns that vary less, at the edge, are a border
_NAMES = ("brightness", "contrast", "sharpness", "border")


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One row an image, in the order of the manifest's records."""

    thumbnails: NDArray[np.uint8]  # (n, 32, 32)
    facts: Mapping[str, NDArray[np.float64]]  # (n,) each


def look(manifest: Manifest, on_progress: Progress = silent) -> Looked:
    """Return the facts of every image; raises `DataError` for one that changed since the scan."""
    read = dataset.reader(manifest)

    def one(record: ImageRecord) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
        pixels = read(record, 1, SIDE_PX)
        return duplicates.thumbnail(pixels), measure(pixels[:, :, 0])

    looked = list(map_in_order(one, manifest.records, what="measuring images", on_progress=on_progress))
    values = np.array([facts for _, facts in looked], np.float64).reshape(-1, len(_NAMES))  # (n, 4)
    thumbnails = np.stack([thumbnail for thumbnail, _ in looked])
    return Looked(thumbnails=thumbnails, facts={name: values[:, i] for i, name in enumerate(_NAMES)})


def measure(pixels: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return mean and deviation of grey, deviation of the 3 × 3 Laplacian, and share of even border, of (h, w) grey."""
    image = Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    x = np.asarray(image, np.float64)
    laplacian = 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]
    return float(x.mean()), float(x.std()), float(laplacian.std()), _border(x)


def _border(x: NDArray[np.float64]) -> float:
    """Return the share of rows and columns that are even from the edge inwards; 1 for a blank image."""
    n_even = 0
    for lines in (x, x[::-1], x.T, x.T[::-1]):
        uneven = np.flatnonzero(lines.std(axis=1) >= _SAME)
        n_even += int(uneven[0]) if len(uneven) else len(lines) // 2
    return n_even / (2 * len(x))
