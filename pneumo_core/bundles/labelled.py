"""Labelled images for a bundle, found before its networks are loaded, so that wrong use fails at once."""

from dataclasses import replace
from pathlib import Path

from pneumo_core.bundles.bundle import Bundle
from pneumo_core.data import dataset
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.source_spec import SourceSpec
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent


def scan(bundle: Bundle, source: SourceSpec, *, cache_dir: Path, on_progress: Progress = silent) -> Manifest:
    """Return the manifest of `source` (see `dataset.scan`); class names are the bundle's where none are given.

    Raises `DataError` where the source isn't labelled or lacks a class.
    """
    named = source.labels is not None or source.layout is not None
    spec = (
        source
        if named
        else replace(source, negative=source.negative or bundle.negative, positive=source.positive or bundle.positive)
    )
    try:
        return dataset.scan(spec, cache_dir=cache_dir, on_progress=on_progress)
    except DataError as error:
        raise DataError(
            f"{error}\nTo evaluate, images must be labelled by their folder (`{spec.negative}/`, `{spec.positive}/`) "
            "or by a table (--labels), and both classes must have some; `pneumo predict` scores files without labels"
        ) from error
