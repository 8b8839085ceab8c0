"""What a bundle does on labelled images, and what it says about single files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pneumo_core.bundles import trace
from pneumo_core.bundles.prediction import Prediction
from pneumo_core.bundles.predictor import Arrays, Predictor, from_file, score_each
from pneumo_core.bundles.trained_on import TrainedOn
from pneumo_core.data import dataset
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.rows import to_sizes
from pneumo_core.data.split import grouped
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent
from pneumo_core.scoring.assess import Assessment, assess
from pneumo_core.scoring.metrics import Floats

TRAINED_ON = (
    "of these images trained the bundle's networks, or look like images that did, so these figures are too good. Use "
    "those of the test role in its model card"
)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a labelled source, the files that couldn't be read, and remarks."""

    assessment: Assessment
    rejected: tuple[tuple[str, str], ...]  # path, reason
    notes: tuple[str, ...]
    engine: str  # what ran the networks


def evaluate(
    predictor: Predictor, manifest: Manifest, *, known: TrainedOn | None = None, on_progress: Progress = silent
) -> Evaluation:
    """Score every image of a labelled source, scanned by `labelled.scan`; raises `DataError` where one has changed.

    `known` are the images that the bundle was made from, so that those among these are counted.
    """
    bundle, records = predictor.bundle, manifest.records
    assessment = assess(
        np.array([record.label for record in records]),
        scores(predictor, manifest, records, on_progress),
        np.array(grouped(records)),
        np.array([record.kind for record in records]),
        threshold=bundle.threshold,
        ceiling=bundle.ceiling,
        confidence=bundle.confidence,
    )
    rejected = tuple((file.path, file.reason) for file in manifest.rejected)
    notes = _notes(known, manifest, on_progress)
    return Evaluation(assessment=assessment, rejected=rejected, notes=notes, engine=predictor.engine)


def scores(
    predictor: Predictor, manifest: Manifest, records: Sequence[ImageRecord], on_progress: Progress = silent
) -> Floats:
    """Return the scores of some images of a source, (n,); raises `DataError` where one has changed."""
    read = dataset.reader(manifest)

    def decode(record: ImageRecord) -> Arrays:
        return to_sizes(partial(read, record), predictor.data_specs)

    found = list(score_each(predictor, records, decode, on_progress))
    for row in found:
        if isinstance(row, str):
            raise DataError(row)
    return np.array(found, np.float64)


def predict(
    predictor: Predictor, paths: Sequence[Path], *, heatmaps: Path | None = None, on_progress: Progress = silent
) -> list[Prediction]:
    """Return one prediction a file, in order; a file that can't be read has an error instead.

    With `heatmaps`, an overlay of what spoke for the positive class is written into that folder for each image.
    """
    rows = list(score_each(predictor, paths, lambda path: from_file(predictor, path), on_progress))
    found = [_prediction(predictor, path, row) for path, row in zip(paths, rows, strict=True)]
    if heatmaps is None:
        return found
    from pneumo_core.bundles import heatmap  # it loads Keras

    return list(heatmap.write_all(predictor, found, heatmaps, on_progress))


def _prediction(predictor: Predictor, path: Path, row: float | str) -> Prediction:
    if isinstance(row, str):
        return Prediction(path=str(path), error=row)
    bundle = predictor.bundle
    decision = bundle.positive if row >= bundle.threshold else bundle.negative
    return Prediction(path=str(path), score=row, decision=decision, threshold=bundle.threshold)


def _notes(known: TrainedOn | None, manifest: Manifest, on_progress: Progress) -> tuple[str, ...]:
    if known is None:
        return ()
    looks = trace.of_records(manifest, manifest.records, on_progress).looks
    n_taught = int(known.knows([record.digest for record in manifest.records], looks).sum())
    return (f"{n_taught} {TRAINED_ON}",) if n_taught else ()
