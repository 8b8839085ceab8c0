"""What a report can say once it has the images: the shown trial's performance, baselines beside it, its errors."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumo_core.data.manifest import Manifest
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent
from pneumo_core.result import TrialResult
from pneumo_core.scoring import metrics
from pneumo_core.scoring.metrics import Floats
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import DataSpec
from search.prepared import Prepared
from search.report import gallery, leaning, performance, source
from search.report.data import Leaning, ReportData, Validation
from search.report.gallery import OverlaysFor
from search.report.source import Images


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a report is made."""

    overlays_for: OverlaysFor | None = None  # None: errors are shown without saliency
    n_resamples: int = 2000  # of patients; each end of a 95 % interval then rests on 50
    progress: Progress = silent


AS_USUAL = Options()


def add_images(data: ReportData, prepared: Prepared, shown_on: DataSpec | None, options: Options) -> ReportData:
    """Return `data` with the data flow, and with what the shown trial's scores say about the validation images.

    `shown_on` is what the shown trial was trained on. Of the arrays, only train and validation are opened.
    """
    data = dataclasses.replace(data, no_data="", flow=source.flow(prepared))
    if data.shown is None or data.shown.metrics is None or shown_on is None:
        return dataclasses.replace(data, no_performance="No trial has been judged yet.")
    result = data.results.get(data.shown.number)
    if result is None:
        return dataclasses.replace(data, no_performance=_no_scores(data.shown.number))
    images = source.images(prepared, shown_on, data.n_folds)
    scores = np.asarray(result.scores, dtype=np.float64)
    if len(scores) != len(images.validation.y):
        why = f"The trial has {len(scores)} stored scores, and was to be judged on {len(images.validation.y)} images."
        return dataclasses.replace(data, no_performance=why)
    if not _agree(*performance.judged(images.validation, result), data.shown.metrics):
        return dataclasses.replace(data, no_performance=_other_figures(data.shown.number))
    return _add_scores(data, images, result, prepared, options)


def _add_scores(
    data: ReportData, images: Images, result: TrialResult, prepared: Prepared, options: Options
) -> ReportData:
    validation, n, threshold = images.validation, options.n_resamples, result.metrics.threshold
    folder = Path(prepared.manifest.source)
    scores = np.asarray(result.scores, dtype=np.float64)  # of the images as they are
    wrong = np.concatenate(gallery.shown_rows(validation, scores, threshold)).tolist()
    one_model = data.n_folds is None  # over folds each image was scored by another one, and none of them is kept
    files = {row: folder / validation.paths[row] for row in wrong}
    overlays = options.overlays_for(files) if options.overlays_for and one_model else {}
    missed, false_alarms = gallery.galleries(validation, scores, threshold, overlays, folder)
    leanings, no_leanings = _leanings(images, scores, prepared.manifest, options)
    return dataclasses.replace(
        data,
        leanings=leanings,
        no_leanings=no_leanings,
        validation=validation,
        performance=performance.measure(*performance.judged(validation, result), threshold, data.objective, n),
        compared=performance.compare(images, scores, data.objective, n, options.progress),
        missed=missed,
        false_alarms=false_alarms,
    )


def _leanings(images: Images, scores: Floats, manifest: Manifest, options: Options) -> tuple[tuple[Leaning, ...], str]:
    """Return how far `scores` (n,) follow shortcuts, or why that isn't known."""
    try:
        return leaning.measure(images, scores, manifest, options.n_resamples, options.progress), ""
    except DataError as error:
        return (), f"Not measured: {error}."


def _agree(validation: Validation, scores: Floats, stored: Metrics) -> bool:
    """Return whether `scores` (n,) give the rates that were stored when the trial ended, at its threshold."""
    found = metrics.confusion(validation.y, scores, stored.threshold)
    return (found.recall, found.specificity) == (stored.recall, stored.specificity)


def _no_scores(number: int) -> str:
    return (
        f"The scores of trial {number} are not in this home folder: they are kept where the trial ran. "
        "Run this on that machine, or give --home its folder."
    )


def _other_figures(number: int) -> str:
    return (
        f"The kept scores of trial {number} do not give the figures stored with it: its file was changed, or an older "
        "version kept rounded scores. Nothing is shown that would contradict them."
    )
