"""The images that a trial got wrong, as PNG."""

import io
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.bundles.bundle_process import Predict
from pneumo_core.data import bounded, reading
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress
from pneumo_core.scoring.metrics import Floats, Ints
from search.bundle_client import ask
from search.report.data import Gallery, ImageCard, Validation

MAX_MISSED = 60  # false negatives shown; all, for any model worth a look
MAX_FALSE_ALARMS = 18
SIDE_PX = 400  # of a shown radiograph, its longer side; smaller ones are enlarged
QUALITY = 82  # some 20 kB a radiograph

Overlays = Mapping[int, bytes]
"""PNG of a saliency overlay by row of the validation arrays; rows without one are shown plain."""
OverlaysFor = Callable[[Mapping[int, Path]], Overlays]
"""From the files of validation rows, by row, to PNGs of saliency overlays, for those that it can make."""


def missed_rows(validation: Validation, scores: Floats, threshold: float) -> Ints:
    """Return the rows of all false negatives, the most confident miss first."""
    rows = np.flatnonzero(validation.y & (scores < threshold))
    return rows[np.argsort(scores[rows], kind="stable")]


def false_alarm_rows(validation: Validation, scores: Floats, threshold: float) -> Ints:
    """Return the rows of all false positives, the most confident first."""
    rows = np.flatnonzero(~validation.y & (scores >= threshold))
    return rows[np.argsort(-scores[rows], kind="stable")]


def shown_rows(validation: Validation, scores: Floats, threshold: float) -> tuple[Ints, Ints]:
    """Return the rows of the false negatives and false positives that a report shows: those that need an overlay."""
    missed = missed_rows(validation, scores, threshold)[:MAX_MISSED]
    return missed, spread(false_alarm_rows(validation, scores, threshold), MAX_FALSE_ALARMS)


def spread(rows: Ints, n: int) -> Ints:
    """Return up to `n` of `rows`, evenly over their order, both ends included."""
    return rows if len(rows) <= n else rows[np.linspace(0, len(rows) - 1, n).round().astype(np.int64)]


def galleries(
    validation: Validation, scores: Floats, threshold: float, overlays: Overlays, folder: Path
) -> tuple[Gallery, Gallery]:
    """Return the galleries of false negatives and of false positives; `folder` has the files of the images."""
    shown = [_cards(validation, scores, rows, overlays, folder) for rows in shown_rows(validation, scores, threshold)]
    n_missed = len(missed_rows(validation, scores, threshold))
    n_false_alarms = len(false_alarm_rows(validation, scores, threshold))
    return Gallery(n=n_missed, cards=shown[0]), Gallery(n=n_false_alarms, cards=shown[1])


def to_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return one image (h, w, c), c 1 or 3, as JPEG whose longer side has `SIDE_PX`."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    factor = SIDE_PX / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()


def radiograph(validation: Validation, row: int, folder: Path) -> NDArray[np.uint8]:
    """Return the pixels (h, w, 1) of the file in `folder`, or the network's own input where there is no such file."""
    try:
        file = folder / validation.paths[row]
        return bounded.read(partial(reading.decode, channels=1, at_least_px=SIDE_PX), file)
    except DataError:
        return np.asarray(validation.x[row])


def _cards(
    validation: Validation, scores: Floats, rows: Ints, overlays: Overlays, folder: Path
) -> tuple[ImageCard, ...]:
    return tuple(
        ImageCard(
            name=validation.paths[row].rsplit("/", 1)[-1],
            kind=validation.kinds[row],
            score=float(scores[row]),
            jpeg=to_jpeg(radiograph(validation, row, folder)),
            overlay=overlays.get(int(row)),
        )
        for row in rows
    )


def from_bundle(bundle: Path, progress: Progress) -> OverlaysFor:
    """Return the function that has `bundle` draw overlays; it raises `UserError` for what is no whole bundle."""

    def overlays(files: Mapping[int, Path]) -> Overlays:
        if not files:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            paths = tuple(map(str, files.values()))
            found = ask(Predict(bundle=str(bundle), paths=paths, heatmaps=folder), progress)["rows"]
            drawn = zip(files, found, strict=True)
            return {row: Path(one["heatmap"]).read_bytes() for row, one in drawn if "heatmap" in one}

    return overlays
