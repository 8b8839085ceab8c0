"""What is remembered of an image without keeping it: a coarse signature of its look, 16 × 16 grey levels, a few facts.

The signature is a random projection of the 32 × 32 thumbnail that `duplicates` compares: the correlation of two
signatures is that of the thumbnails within ± (1 − r²)/16, 0.003 at r = 0.98 (one standard deviation; Johnson &
Lindenstrauss 1984). It recognises an image, also compressed anew, and shows no more of it than the thumbnail.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.data import dataset, duplicates, reading
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent

AT_LEAST_PX = 256  # what images are decoded at, whatever the networks want
SMALL_PX, FACTS_PX = 16, 128
N_SIGNATURE = 256
FACTS = (
    "width_px",
    "height_px",
    "aspect",
    "brightness",
    "contrast",
    "darkest_1_percent",
    "median_grey",
    "brightest_1_percent",
    "black_share",
    "sharpness",
)
OF_FILE = ("width_px", "height_px")  # facts of the file rather than of what a network sees
_BLACK = 8  # grey levels
_PROJECTION_SEED = 20  # part of the format: other signatures don't compare
_SCALE = 40.0  # a coordinate of a projected unit vector is standard normal: 3 standard deviations fit into int8


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Traces of n images: `looks` (n, 256) int8, `small` (n, 16, 16) uint8, `facts` (n, 10) float32."""

    looks: NDArray[np.int8]
    small: NDArray[np.uint8]
    facts: NDArray[np.float32]

    def take(self, rows: NDArray[np.intp]) -> "Traces":
        return replace(self, looks=self.looks[rows], small=self.small[rows], facts=self.facts[rows])


Trace = tuple[NDArray[np.int8], NDArray[np.uint8], NDArray[np.float32]]
"""One row of each array of `Traces`."""


def of_pixels(pixels: NDArray[np.uint8], width_px: int, height_px: int) -> Trace:
    """Return the trace of grey `pixels` (h, w, 1), decoded from a file of that width and height."""
    image = Image.fromarray(pixels[:, :, 0])
    small = np.asarray(image.resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX))
    return _look(duplicates.thumbnail(pixels)), small, _facts(image, width_px, height_px)


def of_file(source: Path | bytes) -> Trace:
    """Return the trace of an image file or its content; raises `DataError` on a bad file."""
    data = reading.read_bytes(source)
    head = reading.header(data)
    pixels = reading.decode(data, channels=1, at_least_px=AT_LEAST_PX)
    return of_pixels(pixels, head.width_px, head.height_px)


def of_records(manifest: Manifest, records: Sequence[ImageRecord], on_progress: Progress = silent) -> Traces:
    """Return the traces of some images of a source, in order; raises `DataError` where one has changed."""
    read = dataset.reader(manifest)

    def one(record: ImageRecord) -> Trace:
        return of_pixels(read(record, 1, AT_LEAST_PX), record.width_px, record.height_px)

    return stack(list(map_in_order(one, records, what="looking at images", on_progress=on_progress)))


def stack(found: Sequence[Trace]) -> Traces:
    """Return the traces of several images as one."""
    return Traces(
        looks=np.array([look for look, _, _ in found], np.int8).reshape(-1, N_SIGNATURE),
        small=np.array([small for _, small, _ in found], np.uint8).reshape(-1, SMALL_PX, SMALL_PX),
        facts=np.array([facts for _, _, facts in found], np.float32).reshape(-1, len(FACTS)),
    )


def resembles(looks: NDArray[np.int8], known: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which of the signatures `looks` (n, 256) look like one of `known` (m, 256), (n,)."""
    a, b = _unit(looks), _unit(known)
    blocks = [(a[start : start + 512] @ b.T >= duplicates.CUTS[0]).any(axis=1) for start in range(0, len(a), 512)]
    return np.concatenate([*blocks, np.zeros(0, bool)])


def _look(thumbnail: NDArray[np.uint8]) -> NDArray[np.int8]:
    x = thumbnail.reshape(-1).astype(np.float64)
    x -= x.mean()
    norm = float(np.linalg.norm(x))
    if norm < 1e-3:  # a flat image resembles none
        return np.zeros(N_SIGNATURE, np.int8)
    return np.clip(np.rint(_SCALE * (_projection() @ x) / norm), -127, 127).astype(np.int8)


@cache
def _projection() -> NDArray[np.float64]:
    """Return the fixed matrix (256, 1024)."""
    generator = np.random.default_rng(_PROJECTION_SEED)
    return generator.standard_normal((N_SIGNATURE, duplicates.THUMBNAIL_PX**2))


def _unit(looks: NDArray[np.int8]) -> NDArray[np.float32]:
    x = looks.astype(np.float32)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, norm, out=np.zeros_like(x), where=norm > 0))


def _facts(image: Image.Image, width_px: int, height_px: int) -> NDArray[np.float32]:
    """Return `FACTS`; grey levels and sharpness at 128 × 128, so that size doesn't matter to them."""
    x = np.asarray(image.resize((FACTS_PX, FACTS_PX), Image.Resampling.BILINEAR), np.float32)
    low, middle, high = np.quantile(x, (0.01, 0.5, 0.99))
    edges = 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]  # 3 × 3 Laplacian
    grey = (x.mean(), x.std(), low, middle, high, (x < _BLACK).mean(), edges.std())
    return np.array([width_px, height_px, width_px / height_px, *grey], np.float32)
