"""Images without labels for a bundle: a folder of files, and how far they are from those that it was certified on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pneumo_core.bundles import reference, trace
from pneumo_core.bundles.drift import FEWEST, Drift, drift
from pneumo_core.bundles.prediction import Prediction
from pneumo_core.bundles.predictor import Predictor, from_file, score_each
from pneumo_core.bundles.reference import Sample
from pneumo_core.bundles.trace import Trace
from pneumo_core.data import bounded, folders, patients
from pneumo_core.errors import BundleError, DataError
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent


def find(folder: Path) -> list[Path]:
    """Return the images in `folder` and below it, masks left out; raises `DataError` where there is none."""
    if not folder.is_dir():
        raise DataError(f"`{folder}` {'is not a folder' if folder.exists() else 'does not exist'}")
    if not (found := folders.images_in(folder)):
        raise DataError(f"`{folder}` has no image files")
    return found


def drift_of(
    predictor: Predictor, folder: Path, paths: Sequence[Path], on_progress: Progress = silent
) -> tuple[Drift, list[tuple[str, str]]]:
    """Return how far the images in `paths` are from those of the bundle in `folder`, and files that can't be used.

    Raises `DataError` with too few images, `BundleError` for a bundle without a reference.
    """
    known = reference.read(folder)
    if known is None:
        raise BundleError(
            f"`{folder}` keeps no description of the images that it was certified on; make the bundle anew with "
            "`pneumo finalize`"
        )
    found = list(score_each(predictor, paths, lambda path: from_file(predictor, path), on_progress))
    rows = [(path, score) for path, score in zip(paths, found, strict=True) if not isinstance(score, str)]
    rejected = [(str(path), reason) for path, reason in zip(paths, found, strict=True) if isinstance(reason, str)]
    sample = _sample([path for path, _ in rows], [score for _, score in rows], on_progress)
    return drift(known, sample, predictor.bundle.threshold), rejected


def line(folder: Path, found: Sequence[Prediction], on_progress: Progress = silent) -> str | None:
    """Return in a line whether predicted files are like those of the bundle's certificate; None where they are few."""
    paths = [Path(row.path) for row in found if row.score is not None]
    scores = [row.score for row in found if row.score is not None]
    thresholds = [row.threshold for row in found if row.threshold is not None]
    known = reference.read(folder)
    if len(paths) < FEWEST or known is None or len(known) < FEWEST:
        return None
    return drift(known, _sample(paths, scores, on_progress), thresholds[0]).line


def _sample(paths: Sequence[Path], scores: Sequence[float], on_progress: Progress) -> Sample:
    """Return scored files as `drift` compares them; patients are those that folders or names identify."""

    def look(path: Path) -> Trace:
        return bounded.read(trace.of_file, path)

    traces = trace.stack(list(map_in_order(look, paths, what="looking at images", on_progress=on_progress)))
    groups = patients.of_paths([path.as_posix() for path in paths])
    return reference.sample(traces, np.array(scores, np.float64), list(groups))
