"""Labelled images for a bundle, found before its networks are loaded: wrong use is told at once."""

from pathlib import Path

from pneumo_core.bundles.bundle import Bundle
from pneumo_core.data import dataset
from pneumo_core.data.manifest import Manifest
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent


def scan(
    bundle: Bundle,
    source: str,
    *,
    cache_dir: Path,
    negative: str | None = None,
    positive: str | None = None,
    on_progress: Progress = silent,
) -> Manifest:
    """Return the manifest of `source` (see `dataset.scan`); class names are the bundle's where not given.

    Raises `DataError` where the source isn't labelled or lacks a class.
    """
    names = negative or bundle.negative, positive or bundle.positive
    try:
        return dataset.scan(source, cache_dir=cache_dir, negative=names[0], positive=names[1], on_progress=on_progress)
    except DataError as error:
        raise DataError(
            f"{error}\nTo evaluate, images must be labelled by their folder, `{names[0]}/` and `{names[1]}/`, "
            "and both must have some; `pneumo predict` scores files without labels"
        ) from error
