"""How far a trial still follows shortcuts: its scores against facts of the images, within each class.

Across the classes any good score correlates with whatever differs between them. Within a class a score that sees
nothing but the disease has no reason to.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from pneumo_core.data import image_facts
from pneumo_core.data.manifest import Manifest
from pneumo_core.progress import Progress
from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.metrics import Bools, Floats, Ints
from search.report import gallery
from search.report.data import Estimate, Leaning
from search.report.performance import CONFIDENCE
from search.report.source import Images

MAX_IMAGES = 2000  # whose facts are measured: some 5 ms each
SEED = 0


def measure(
    images: Images, scores: Floats, manifest: Manifest, n_resamples: int, progress: Progress
) -> tuple[Leaning, ...]:
    """Return how far `scores` (n,) of the images as they are follow sharpness, aspect and brightness.

    Raises `DataError` where a file has changed since the scan.
    """
    rows = gallery.spread(np.arange(len(scores)), MAX_IMAGES)
    facts = _facts(images, manifest, rows, progress)
    y, groups = images.validation.y[rows], np.asarray(images.validation.groups)[rows]
    drawn = list(intervals.resamples(y, groups, seed=SEED, n_resamples=n_resamples))
    return tuple(_leaning(name, values, y, scores[rows], drawn) for name, values in facts.items())


def _facts(images: Images, manifest: Manifest, rows: Ints, progress: Progress) -> dict[str, Floats]:
    """Return sharpness and brightness at one size, and the aspect of the original, of `rows`; (k,) each."""
    records = tuple(images.validation_records[row] for row in rows.tolist())
    looked = image_facts.look(dataclasses.replace(manifest, records=records), progress)
    aspect = np.array([record.width_px / record.height_px for record in records])
    return {"sharpness": looked.facts["sharpness"], "aspect": aspect, "brightness": looked.facts["brightness"]}


def _leaning(name: str, values: Floats, y: Bools, scores: Floats, drawn: Sequence[Ints]) -> Leaning:
    found = {label: _within(values, scores, y == bool(label), drawn) for label in (0, 1)}
    return Leaning(
        fact=name,
        class_auc=metrics.auc(y, values),
        within={label: estimate for label, estimate in found.items() if estimate is not None},
    )


def _within(values: Floats, scores: Floats, mine: Bools, drawn: Sequence[Ints]) -> Estimate | None:
    """Return the rank correlation among the rows that are `mine`; None where one of both is constant."""
    value = _correlation(values[mine], scores[mine])
    resampled = [_correlation(values[some], scores[some]) for some in (rows[mine[rows]] for rows in drawn)]
    known = [one for one in resampled if one is not None]
    if value is None or not known:
        return None
    return Estimate(value=value, interval=intervals.percentile_interval("correlation", known, CONFIDENCE))


def _correlation(a: Floats, b: Floats) -> float | None:
    """Return the rank correlation of Spearman (1904), ties at their mean rank."""
    x, y = stats.rankdata(a), stats.rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else None
