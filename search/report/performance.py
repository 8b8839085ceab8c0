"""What one trial does on validation, every figure with its interval."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pneumo_core.data import folds
from pneumo_core.progress import Progress
from pneumo_core.result import TrialResult
from pneumo_core.scoring import baselines, exact, intervals, metrics
from pneumo_core.scoring.assess import assess
from pneumo_core.scoring.intervals import Interval
from pneumo_core.scoring.metrics import Bools, Confusion, Cuts, Floats
from pneumo_core.specs import ObjectiveSpec
from search.report.data import Compared, Estimate, Performance, Validation
from search.report.source import Images

CONFIDENCE = 0.95
JOINT = math.sqrt(CONFIDENCE)  # of each of two independent intervals that hold together with 95 % confidence
BOOTSTRAP_SEED = 0
SHOWN = "this trial"
MEASURES = ("auc", "recall", "specificity")
_WHAT = {
    SHOWN: "",
    "linear on thumbnails": "logistic regression on 24 × 24 pixels: sees brightness and framing",
    "file metadata only": "boosted trees on size, aspect ratio, bytes per pixel and mode: sees no pixel",
    "always positive": "calls everyone ill",
}


def judged(validation: Validation, result: TrialResult) -> tuple[Validation, Floats]:
    """Return what a trial was judged on, and its scores: under shifts each image twice, as it is and then shifted."""
    if not result.shifted_scores:
        return validation, np.asarray(result.scores, dtype=np.float64)
    twice = dataclasses.replace(
        validation,
        y=np.concatenate([validation.y, validation.y]),
        paths=validation.paths * 2,
        groups=validation.groups * 2,
        kinds=validation.kinds * 2,
    )
    return twice, np.asarray([*result.scores, *result.shifted_scores], dtype=np.float64)


def measure(
    validation: Validation, scores: Floats, threshold: float, objective: ObjectiveSpec, n_resamples: int
) -> Performance:
    """Return the performance of `scores` (n,) at `threshold`.

    Under shifts `validation` has each image twice; the region then counts it once.
    """
    assessment = assess(
        validation.y,
        scores,
        np.asarray(validation.groups),
        np.asarray(validation.kinds),
        threshold=threshold,
        ceiling=objective.fnr_ceiling,
        confidence=CONFIDENCE,
        n_resamples=n_resamples,
    )
    region = _region(assessment.confusion, len(validation.y) // len(set(validation.paths)))
    return Performance(y=validation.y, scores=scores, groups=validation.groups, assessment=assessment, region=region)


def proportion(hits: Bools, groups: npt.NDArray[np.generic]) -> Estimate:
    """Return the share of `hits` (n,) with its interval; `groups` (n,) names the patient of each image."""
    interval = intervals.clustered(hits, groups, CONFIDENCE)
    return Estimate(value=float(hits.mean()), interval=interval, hits=int(hits.sum()), n=len(hits))


def _region(c: Confusion, copies: int) -> tuple[intervals.Interval, intervals.Interval]:
    recall = (c.true_positive // copies, (c.true_positive + c.false_negative) // copies)
    specificity = (c.true_negative // copies, (c.true_negative + c.false_positive) // copies)
    return exact.clopper_pearson(*recall, JOINT), exact.clopper_pearson(*specificity, JOINT)


def compare(
    images: Images, scores: Floats, objective: ObjectiveSpec, n_resamples: int, progress: Progress
) -> tuple[Compared, ...]:
    """Return the trial with `scores` (n,) on validation and every baseline, the trial first."""
    models = {SHOWN: scores, **_baselines(images, progress)}

    def measure(cuts: Cuts) -> tuple[float, float, float]:
        at_floor, at_ceiling = cuts_for(objective, cuts)
        return cuts.auc, 1 - float(cuts.fnr[at_floor]), float(cuts.specificity[at_ceiling])

    values = np.array([measure(metrics.cuts(images.validation.y, s)) for s in models.values()])  # (models, measures)
    samples = _resampled(images.validation, list(models.values()), measure, n_resamples)
    progress("comparing with baselines", 3, 3)
    return tuple(
        Compared(
            name=name,
            what=_WHAT[name],
            scores=models[name],
            estimates=_own_estimates(images.validation, models[name], objective, samples[:, index]),
            margins=_estimates(values[0] - values[index], samples[:, 0] - samples[:, index]) if index else {},
        )
        for index, name in enumerate(models)
    )


def cuts_for(objective: ObjectiveSpec, cuts: Cuts) -> tuple[int, int]:
    """Return the cut of most recall at a specificity ≥ floor (and > 0), and that of most specificity at an FNR ≤
    ceiling; among equals the one that is better in the other."""
    admitted = np.flatnonzero((cuts.specificity >= objective.specificity_floor) & (cuts.n_cleared > 0))
    under_ceiling = np.flatnonzero(cuts.fnr <= objective.fnr_ceiling)
    at_floor = admitted[np.lexsort((-cuts.n_cleared[admitted], cuts.n_missed[admitted]))[0]]
    at_ceiling = under_ceiling[np.lexsort((cuts.n_missed[under_ceiling], -cuts.n_cleared[under_ceiling]))[0]]
    return int(at_floor), int(at_ceiling)


def _own_estimates(
    validation: Validation, scores: Floats, objective: ObjectiveSpec, samples: Floats
) -> Mapping[str, Estimate]:
    """Return a model's figures, each with the interval that it has everywhere on the page."""
    y, groups, cuts = validation.y, np.asarray(validation.groups), metrics.cuts(validation.y, scores)
    at_floor, at_ceiling = (cuts.threshold(cut) for cut in cuts_for(objective, cuts))
    return {
        "auc": _estimates(np.array([cuts.auc]), samples[:, :1])["auc"],
        "recall": proportion(scores[y] >= at_floor, groups[y]),
        "specificity": proportion(scores[~y] < at_ceiling, groups[~y]),
    }


def _baselines(images: Images, progress: Progress) -> dict[str, Floats]:
    if images.n_folds is not None:
        return _baselines_over_folds(images, images.n_folds, progress)
    fit, validation = images.fit, images.validation
    progress("comparing with baselines", 0, 3)
    linear = baselines.linear_on_thumbnails(fit.x_train, fit.y_train, validation.x)
    progress("comparing with baselines", 1, 3)
    metadata = baselines.metadata_only(images.train_records, fit.y_train, images.validation_records)
    progress("comparing with baselines", 2, 3)
    constant = baselines.always_positive(len(validation.y))
    return {"linear on thumbnails": linear, "file metadata only": metadata, "always positive": constant}


def _baselines_over_folds(images: Images, n_folds: int, progress: Progress) -> dict[str, Floats]:
    """Score each of the pooled images by baselines that never saw its patient; the folds need not be the study's."""
    pooled, records = images.validation, images.validation_records
    linear, metadata = np.zeros(len(pooled.y)), np.zeros(len(pooled.y))
    fold_of_image = folds.assign(pooled.y, pooled.groups, n_folds, BOOTSTRAP_SEED)
    for index in range(n_folds):
        progress("comparing with baselines", 2 * index // n_folds, 3)
        rest, held_out = np.flatnonzero(fold_of_image != index), np.flatnonzero(fold_of_image == index)
        y, known = pooled.y[rest], [records[row] for row in rest]
        linear[held_out] = baselines.linear_on_thumbnails(pooled.x[rest], y, pooled.x[held_out])
        metadata[held_out] = baselines.metadata_only(known, y, [records[row] for row in held_out])
    constant = baselines.always_positive(len(pooled.y))
    return {"linear on thumbnails": linear, "file metadata only": metadata, "always positive": constant}


def _resampled(
    validation: Validation,
    models: list[Floats],
    measure: Callable[[Cuts], tuple[float, float, float]],
    n_resamples: int,
) -> Floats:
    """Return every measure of every model on the same resamples of patients, (resamples, models, measures)."""
    y = validation.y
    drawn = intervals.resamples(y, validation.groups, seed=BOOTSTRAP_SEED, n_resamples=n_resamples)
    return np.array([[measure(metrics.cuts(y[rows], scores[rows])) for scores in models] for rows in drawn])


def _estimates(values: Floats, samples: Floats) -> Mapping[str, Estimate]:
    """Return one estimate a measure, from `values` (measures,) and `samples` (resamples, measures)."""
    tail = (1 - CONFIDENCE) / 2
    bounds: npt.NDArray[np.float64] = np.quantile(samples, [tail, 1 - tail], axis=0)
    return {
        name: Estimate(
            value=float(values[index]),
            interval=Interval(low=float(bounds[0, index]), high=float(bounds[1, index]), confidence=CONFIDENCE),
        )
        for index, name in enumerate(MEASURES[: len(values)])
    }
