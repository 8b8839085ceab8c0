"""How far images without labels are from those that a bundle was certified on, and what that means for its certificate.

Two classifiers try to separate the two sets: one from 16 × 16 grey levels, one from what `trace.FACTS` says of the
pixels. Their cross-validated AUC is 0.5 where nothing gives a set away (Lopez-Paz & Oquab 2017, "Revisiting classifier
two-sample tests"). Only images that the bundle scores on the same side of 0.5 are compared, and both sides weigh
alike in both sets: a set with more ill people among the same kind of patients has not drifted.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pneumo_core.bundles import trace
from pneumo_core.bundles.reference import Sample
from pneumo_core.errors import DataError
from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.intervals import Interval
from pneumo_core.scoring.metrics import Bools, Floats, Ints

FEWEST = 30  # images; below, no interval would exclude anything
SAME, FAR = 0.6, 0.8  # least AUC, with confidence, from which images differ, and from which they are others altogether
MIDDLE = (0.05, 0.95)  # a score in between is undecided
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FOLDS, _SEED, _RESAMPLES = 5, 0, 500

Verdict = Literal["alike", "different", "foreign"]


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well one classifier separates the two sets: cross-validated AUC with its interval over patients."""

    auc: float
    auc_ci: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What `drift` found; pairs are (certified on, these)."""

    n_reference: int
    n: int
    by_pixels: Separation
    by_facts: Separation
    verdict: Verdict
    score_quantiles: Mapping[str, tuple[float, ...]]
    undecided: tuple[float, ...]  # shares of scores in `MIDDLE`
    called: tuple[float, ...]  # shares called positive
    facts: Mapping[str, tuple[float, ...]]  # medians

    @property
    def line(self) -> str:
        """The verdict in one line."""
        worst = max(self.by_pixels, self.by_facts, key=lambda found: found.auc_ci[0])
        low, high = worst.auc_ci
        seen = f"separated from those of the certificate with AUC {worst.auc:.2f} ({low:.2f} to {high:.2f}; 0.5: alike)"
        return f"These {self.n} images are {seen}. {_MEANS[self.verdict]}"


_MEANS: Mapping[Verdict, str] = {
    "alike": "No evidence against the certificate was found. That is no proof that it holds.",
    "different": "The certificate may not hold for them: certify the threshold on labelled images of this source "
    "(`pneumo certify`).",
    "foreign": "The certificate does not hold for them: do not rely on this bundle's decisions here before it is "
    "certified, or trained, on images of this source.",
}


def drift(reference: Sample, new: Sample, threshold: float) -> Drift:
    """Compare `new` images with those of a bundle's `reference`; raises `DataError` with too few images."""
    for name, found in (("the bundle's reference", reference), ("these", new)):
        if len(found) < FEWEST:
            raise DataError(f"drift needs at least {FEWEST} images, {name} has {len(found)}")
    pixels = _separation(reference, new, *(found.small.reshape(len(found), -1) / 255 for found in (reference, new)))
    facts = _separation(reference, new, _of_pixels(reference), _of_pixels(new))
    low = max(pixels.auc_ci[0], facts.auc_ci[0])
    return Drift(
        n_reference=len(reference),
        n=len(new),
        by_pixels=pixels,
        by_facts=facts,
        verdict="foreign" if low >= FAR else "different" if low >= SAME else "alike",
        score_quantiles={
            f"{q:.0%}": tuple(float(np.quantile(found.scores, q)) for found in (reference, new)) for q in QUANTILES
        },
        undecided=tuple(
            float(np.mean((found.scores > MIDDLE[0]) & (found.scores < MIDDLE[1]))) for found in (reference, new)
        ),
        called=tuple(float(np.mean(found.scores >= threshold)) for found in (reference, new)),
        facts={
            name: tuple(float(np.median(found.facts[:, i])) for found in (reference, new))
            for i, name in enumerate(trace.FACTS)
        },
    )


def _of_pixels(found: Sample) -> Floats:
    kept = [i for i, name in enumerate(trace.FACTS) if name not in trace.OF_FILE]
    return found.facts[:, kept].astype(np.float64)


def _separation(reference: Sample, new: Sample, x_reference: Floats, x_new: Floats) -> Separation:
    is_new = np.repeat([False, True], [len(reference), len(new)])
    patients = np.concatenate([reference.patients, new.patients + reference.patients.max() + 1])
    side = np.concatenate([reference.scores, new.scores]) >= 0.5
    found = _held_out(np.concatenate([x_reference, x_new]), is_new, patients, side)

    def auc(labels: Bools, rows: Floats) -> float | None:
        at = rows.astype(np.int64)
        return _within_sides(labels, found[at], side[at])

    value = _within_sides(is_new, found, side)
    if value is None:
        return Separation(auc=1.0, auc_ci=(1.0, 1.0))  # every image of one set is on the other side of 0.5
    numbers = np.arange(len(found), dtype=np.float64)
    band: Interval = intervals.patient_bootstrap(
        is_new, numbers, patients, {"auc": auc}, seed=_SEED, n_resamples=_RESAMPLES
    )["auc"]
    return Separation(auc=value, auc_ci=(band.low, band.high))


def _held_out(x: Floats, is_new: Bools, patients: Ints, side: Bools) -> Floats:
    """Return how each image (n,) is scored by a classifier that saw no image of its patient."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold = np.random.default_rng(_SEED).integers(_FOLDS, size=int(patients.max()) + 1)[patients]
    weights = _balanced(is_new, side)
    scores = np.zeros(len(x))
    for index in range(_FOLDS):
        held_out = fold == index
        if len(np.unique(is_new[~held_out])) < 2 or not held_out.any():
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x[~held_out], is_new[~held_out], logisticregression__sample_weight=weights[~held_out])
        scores[held_out] = model.decision_function(x[held_out])
    return scores


def _balanced(is_new: Bools, side: Bools) -> Floats:
    """Return weights (n,) with which both sets have the same on each side of 0.5."""
    cell = 2 * side.astype(int) + is_new
    n = np.bincount(cell, minlength=4)
    share = n.reshape(2, 2).min(axis=1).repeat(2)  # what the smaller set has on that side
    weights = (share / np.maximum(n, 1))[cell]
    return np.asarray(weights + 1e-9, np.float64)


def _within_sides(is_new: Bools, scores: Floats, side: Bools) -> float | None:
    """Return the AUC over pairs of images on the same side of 0.5, None where there are none."""
    total, n_pairs = 0.0, 0
    for of in (side, ~side):
        n_new, n = int(is_new[of].sum()), int(of.sum())
        if pairs := n_new * (n - n_new):
            total += pairs * metrics.auc(is_new[of], scores[of])
            n_pairs += pairs
    return total / n_pairs if n_pairs else None
