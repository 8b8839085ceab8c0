"""How far a trial still follows shortcuts: its scores against facts of the images, within each class.

Across the classes any good score correlates with whatever differs between them. Within a class a score that sees
nothing but the disease has no reason to.
"""

import dataclasses
import math

import numpy as np

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
    drawn = intervals.resamples(y, groups, seed=SEED, n_resamples=n_resamples)
    times = np.array([np.ones(len(y)), *(np.bincount(some, minlength=len(y)) for some in drawn)])
    return tuple(_leaning(name, values, y, scores[rows], times) for name, values in facts.items())


def _facts(images: Images, manifest: Manifest, rows: Ints, progress: Progress) -> dict[str, Floats]:
    """Return sharpness and brightness at one size, and the aspect of the original, of `rows`; (k,) each."""
    records = tuple(images.validation_records[row] for row in rows.tolist())
    looked = image_facts.look(dataclasses.replace(manifest, records=records), progress)
    aspect = np.array([record.width_px / record.height_px for record in records])
    return {"sharpness": looked.facts["sharpness"], "aspect": aspect, "brightness": looked.facts["brightness"]}


def _leaning(name: str, values: Floats, y: Bools, scores: Floats, times: Floats) -> Leaning:
    found = {label: _within(values, scores, y == bool(label), times) for label in (0, 1)}
    return Leaning(
        fact=name,
        class_auc=metrics.auc(y, values),
        within={label: estimate for label, estimate in found.items() if estimate is not None},
    )


def _within(values: Floats, scores: Floats, mine: Bools, times: Floats) -> Estimate | None:
    """Return the rank correlation among the rows that are `mine`; None where one of both is constant.

    `times` (1 + resamples, n) says how often each resample has each row; the first has all rows once.
    """
    value, *resampled = _correlations(values[mine], scores[mine], times[:, mine]).tolist()
    known = [one for one in resampled if not math.isnan(one)]
    if math.isnan(value) or not known:
        return None
    return Estimate(value=value, interval=intervals.percentile_interval("correlation", known, CONFIDENCE))


def _correlations(a: Floats, b: Floats, times: Floats) -> Floats:
    """Return the rank correlation of Spearman (1904) of `a` and `b` (n,), (r,); NaN where one of both is constant.

    `times` (r, n) says how often each row counts. To rank the rows of each resample anew took seconds a report.
    """
    x, y = _ranks(a, times), _ranks(b, times)
    xy, xx, yy = (np.einsum("rn,rn,rn->r", times, one, other) for one, other in ((x, y), (x, x), (y, y)))
    size = np.sqrt(xx * yy)
    found: Floats = np.divide(xy, size, out=np.full(len(times), np.nan), where=size > 0)
    return found


def _ranks(values: Floats, times: Floats) -> Floats:
    """Return the ranks of `values` (n,) around their mean, ties at their mean rank; (r, n), see `_correlations`."""
    _, place, n_equal = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(n_equal) - n_equal
    counts = np.add.reduceat(times[:, np.argsort(place, kind="stable")], starts, axis=1)
    ranks = (np.cumsum(counts, axis=1) - counts / 2)[:, place]
    centred: Floats = ranks - (np.einsum("rn,rn->r", times, ranks) / times.sum(axis=1))[:, np.newaxis]
    return centred
