"""What one trial does on validation, every figure with its interval."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pneumo_core.data import folds
from pneumo_core.progress import Progress
from pneumo_core.scoring import baselines, intervals, metrics
from pneumo_core.scoring.intervals import Interval
from pneumo_core.scoring.metrics import Bools, Confusion, Cuts, Floats
from pneumo_core.scoring.operating import Metrics
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


def measure(
    validation: Validation, scores: Floats, stored: Metrics, objective: ObjectiveSpec, n_resamples: int
) -> Performance:
    """Return the performance of `scores` (n,) at the stored threshold."""
    y, threshold = validation.y, stored.threshold
    confusion = metrics.confusion(y, scores, threshold)
    areas = intervals.patient_bootstrap(
        y,
        scores,
        validation.groups,
        {"auc": metrics.auc, "pauc": lambda labels, s: metrics.pauc(labels, s, objective.fnr_ceiling)},
        seed=BOOTSTRAP_SEED,
        n_resamples=n_resamples,
    )
    return Performance(
        scores=scores,
        threshold=threshold,
        confusion=confusion,
        estimates=_proportions(validation, scores >= threshold),
        auc=Estimate(value=metrics.auc(y, scores), interval=areas["auc"]),
        pauc=Estimate(value=metrics.pauc(y, scores, objective.fnr_ceiling), interval=areas["pauc"]),
        brier=metrics.brier(y, scores),
        calibration_error=metrics.expected_calibration_error(y, scores),
        fnr_upper=intervals.upper_bound(confusion.false_negative, int(y.sum()), CONFIDENCE),
        region=_region(confusion),
        recall_by_kind=_recall_by_kind(validation, scores, threshold),
        patients_missed=_patients_missed(validation, scores, threshold),
        agrees=confusion.recall == stored.recall and confusion.specificity == stored.specificity,
    )


def proportion(hits: Bools, groups: npt.NDArray[np.generic]) -> Estimate:
    """Return the share of `hits` (n,) with its interval; `groups` (n,) names the patient of each image."""
    interval = intervals.clustered(hits, groups, CONFIDENCE)
    return Estimate(value=float(hits.mean()), interval=interval, hits=int(hits.sum()), n=len(hits))


def _proportions(validation: Validation, called: Bools) -> dict[str, Estimate]:
    y, groups = validation.y, np.asarray(validation.groups)
    right = called == y
    everyone = np.ones(len(y), bool)
    of = {"recall": y, "specificity": ~y, "ppv": called, "npv": ~called, "accuracy": everyone}
    shares = {name: (rows, right) for name, rows in of.items()} | {"fnr": (y, ~right)}
    return {name: proportion(hits[rows], groups[rows]) for name, (rows, hits) in shares.items() if rows.any()}


def _region(c: Confusion) -> tuple[intervals.Interval, intervals.Interval]:
    recall = intervals.clopper_pearson(c.true_positive, c.true_positive + c.false_negative, JOINT)
    specificity = intervals.clopper_pearson(c.true_negative, c.true_negative + c.false_positive, JOINT)
    return recall, specificity


def _recall_by_kind(validation: Validation, scores: Floats, threshold: float) -> dict[str, Estimate]:
    found: Bools = scores >= threshold
    kinds, groups = np.asarray(validation.kinds), np.asarray(validation.groups)
    names = sorted(set(kinds[validation.y].tolist()))
    mine = {name: validation.y & (kinds == name) for name in names}
    return {name: proportion(found[rows], groups[rows]) for name, rows in mine.items()} if len(names) > 1 else {}


def _patients_missed(validation: Validation, scores: Floats, threshold: float) -> Estimate:
    ill: Bools = validation.y
    groups = np.asarray(validation.groups)
    patients = np.unique(groups[ill])
    return proportion(np.isin(patients, groups[ill & (scores < threshold)]), patients)


def compare(
    images: Images, scores: Floats, objective: ObjectiveSpec, n_resamples: int, progress: Progress
) -> tuple[Compared, ...]:
    """Return the trial with `scores` (n,) on validation and every baseline, the trial first."""
    models = {SHOWN: scores, **_baselines(images, progress)}
    measure = measure_for(objective)
    values = np.array([measure(metrics.cuts(images.validation.y, s)) for s in models.values()])  # (models, measures)
    samples = _resampled(
        images.validation, list(models.values()), measure, n_resamples
    )  # (resamples, models, measures)
    progress("comparing with baselines", 3, 3)
    return tuple(
        Compared(
            name=name,
            what=_WHAT[name],
            scores=models[name],
            estimates=_estimates(values[index], samples[:, index]),
            margins=_estimates(values[0] - values[index], samples[:, 0] - samples[:, index]) if index else {},
        )
        for index, name in enumerate(models)
    )


def measure_for(objective: ObjectiveSpec) -> Callable[[Cuts], tuple[float, float, float]]:
    """Return AUC, most recall at a specificity ≥ floor (and > 0), and most specificity at an FNR ≤ ceiling."""

    def measure(cuts: Cuts) -> tuple[float, float, float]:
        admitted = (cuts.specificity >= objective.specificity_floor) & (cuts.n_cleared > 0)
        under_ceiling = cuts.fnr <= objective.fnr_ceiling
        return cuts.auc, float(1 - cuts.fnr[admitted].min()), float(cuts.specificity[under_ceiling].max())

    return measure


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
    """Return every measure of every model on the same resamples of patients, (resamples, models, measures).

    Row numbers are resampled in the place of scores, so that a margin compares two models on the same images.
    """
    samples: list[list[tuple[float, float, float]]] = []

    def collect(y: Bools, row_numbers: Floats) -> float:
        rows = row_numbers.astype(np.int64)
        samples.append([measure(metrics.cuts(y, scores[rows])) for scores in models])
        return 0.0

    row_numbers = np.arange(len(validation.y), dtype=np.float64)
    intervals.patient_bootstrap(
        validation.y, row_numbers, validation.groups, {"": collect}, seed=BOOTSTRAP_SEED, n_resamples=n_resamples
    )
    return np.array(samples)


def _estimates(values: Floats, samples: Floats) -> Mapping[str, Estimate]:
    """Return one estimate a measure, from `values` (measures,) and `samples` (resamples, measures)."""
    tail = (1 - CONFIDENCE) / 2
    bounds: npt.NDArray[np.float64] = np.quantile(samples, [tail, 1 - tail], axis=0)
    return {
        name: Estimate(
            value=float(values[index]),
            interval=Interval(low=float(bounds[0, index]), high=float(bounds[1, index]), confidence=CONFIDENCE),
        )
        for index, name in enumerate(MEASURES)
    }
