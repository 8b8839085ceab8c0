"""A threshold whose false-negative rate stays under a ceiling with stated confidence (Neyman–Pearson umbrella).

Tong, Feng & Li (2018, "Neyman-Pearson classification algorithms and NP receiver operating characteristics",
Science Advances 4, eaao1659, proposition 1): of n independent positive scores that chose nothing, let the
threshold be the k-th lowest. It misses more than a share α of all positives with probability at most
P(Binomial(n, α) ≤ k − 1). Take the largest k for which that is ≤ δ: k − 1 misses are allowed. Equal scores only
help, since a positive is missed when its score is strictly below the threshold.

Comparing M candidates on the same positives and keeping one costs δ/M each (Bonferroni).

By image, every positive image counts and all are taken as independent. By patient, only patients are: each counts
once, with the lowest score among their positive images, so a patient is missed when *any* of their positive images
is. That is the strictest reading, needs no random choice, and bounds from above the chance that one image, taken at
random from one patient taken at random, is missed: the case of a new patient who comes with one X-ray.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from pneumo_core.scoring.exact import upper_bound
from pneumo_core.scoring.metrics import Floats, check_scores

Unit = Literal["image", "patient"]
Guarantee = Literal["patient", "image", "none"]
NOISE = 1e-6  # relative; a float32 score moves by about 1e-7 with the batch it is computed in


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What the positives of the calibration role allow to certify. Counts are of `unit`s, images or patients.

    Without enough positives there is no threshold, and the fields that describe it are None.
    """

    unit: Unit
    ceiling: float  # α: the false-negative rate not to be exceeded
    confidence: float  # 1 − δ, for all candidates together
    n_candidates: int
    n_positives: int
    n_positives_needed: int  # fewest that can certify the ceiling, without a miss
    certifiable_ceiling: float  # least ceiling that `n_positives` can certify, without a miss
    n_allowed_misses: int | None  # k − 1
    n_missed: int | None  # at the threshold; fewer than allowed where scores are equal
    threshold: float | None  # positive iff score >= threshold
    fnr_upper: float | None  # the false-negative rate is below this with `confidence`; at most the ceiling

    @property
    def certified(self) -> bool:
        return self.threshold is not None

    def __str__(self) -> str:
        """Return what is certified, or what is missing, as a sentence."""
        units = f"positive {self.unit}s"
        if self.threshold is None:
            return (
                f"No threshold can be certified for a false-negative rate of at most {self.ceiling:.4g} at confidence "
                f"{self.confidence:.4g} with {self.n_positives} {units}: at least {self.n_positives_needed} are "
                f"needed; {self.n_positives} can certify {self.certifiable_ceiling:.4g} at best."
            )
        return (
            f"With confidence {self.confidence:.4g} the false-negative rate by {self.unit} is at most "
            f"{self.ceiling:.4g} at threshold {self.threshold:.6g} ({self.n_missed} of {self.n_positives} {units} "
            f"missed in calibration, {self.n_allowed_misses} allowed)."
        )


def certify_images(
    y: npt.ArrayLike, scores: npt.ArrayLike, *, ceiling: float, confidence: float = 0.95, n_candidates: int = 1
) -> Certificate:
    """Certify a threshold by image from calibration `y` (n,) and `scores` (n,); the negatives are not used.

    Assumes positive images independent and drawn as future ones will be. Where patients have several images that
    doesn't hold, and `certify_patients` is the one to trust.
    """
    labels, values = check_scores(y, scores, at_least=0)
    return _certify(values[labels], "image", ceiling, confidence, n_candidates)


def certify_patients(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    ceiling: float,
    confidence: float = 0.95,
    n_candidates: int = 1,
) -> Certificate:
    """Certify a threshold by patient; `groups` (n,) names the patient of each image.

    A patient is missed when any of their positive images is. Assumes patients independent and drawn as future
    ones will be, with as many images each; images of one patient may depend on each other in any way.
    """
    labels, values = check_scores(y, scores, at_least=0)
    names = np.asarray(groups)
    if names.shape != labels.shape:
        raise ValueError(f"`groups` must have shape {labels.shape} like `scores`, got {names.shape}")
    return _certify(lowest_by_patient(values[labels], names[labels]), "patient", ceiling, confidence, n_candidates)


@dataclass(frozen=True, kw_only=True)
class Certified:
    """Both certificates of one model on the same images, and what is promised where both are heeded."""

    guarantee: Guarantee
    certificates: tuple[Certificate, Certificate]  # by image, by patient
    threshold: float | None  # the lower of theirs; None where neither certifies


def certify_both(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    patients_known: bool,
    ceiling: float,
    confidence: float = 0.95,
) -> Certified:
    """Certify by image and by patient; the lower threshold keeps both promises.

    Without known patients, `groups` (n,) are the images themselves and nothing is promised by patient.
    """
    by_image = certify_images(y, scores, ceiling=ceiling, confidence=confidence)
    by_patient = certify_patients(y, scores, groups, ceiling=ceiling, confidence=confidence)
    thresholds = [c.threshold for c in (by_image, by_patient) if c.threshold is not None]
    guarantee: Guarantee = "patient" if by_patient.certified and patients_known else "image"
    return Certified(
        guarantee=guarantee if thresholds else "none",
        certificates=(by_image, by_patient),
        threshold=min(thresholds, default=None),
    )


def certify_worst(
    y: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike,
    *,
    patients_known: bool,
    ceiling: float,
    confidence: float = 0.95,
) -> tuple[str, Certified]:
    """Certify for the worst of several ways, named by the keys of `scores`, in which the same images may come.

    Returns the way that asks for the lowest threshold, with its certificates. At that threshold the promise holds for
    every way at once, with the same confidence and without a correction: it is broken only if the threshold is above
    what the way that is worst in truth allows, and that way's own threshold, which isn't lower, is so with
    probability 1 − `confidence` at most.
    """
    found = {
        name: certify_both(y, values, groups, patients_known=patients_known, ceiling=ceiling, confidence=confidence)
        for name, values in scores.items()
    }
    worst = min(found, key=lambda name: math.inf if (t := found[name].threshold) is None else t)
    return worst, found[worst]


def lowest_by_patient(scores: Floats, groups: npt.NDArray[np.generic]) -> Floats:
    """Return each patient's lowest score, (n_patients,), patients in sorted order."""
    names, patients = np.unique(groups, return_inverse=True)
    lowest = np.full(len(names), np.inf)
    np.minimum.at(lowest, patients, scores)
    return lowest


def allowed_misses(n_positives: int, ceiling: float, confidence: float, n_candidates: int = 1) -> int | None:
    """Return k − 1, the most misses among `n_positives` that still certify `ceiling`; None where even 0 don't."""
    delta = _delta(ceiling, confidence, n_candidates)
    probabilities = _at_most(np.arange(n_positives), n_positives, ceiling)  # (n,) rising with the misses
    n_ranks = int(np.searchsorted(probabilities, delta, side="right"))
    return n_ranks - 1 if n_ranks else None


def positives_needed(ceiling: float, confidence: float, *, n_misses: int = 0, n_candidates: int = 1) -> int:
    """Return the fewest positives that certify `ceiling` when `n_misses` of them are missed."""
    delta = _delta(ceiling, confidence, n_candidates)
    low, high = n_misses, n_misses + 1  # too few, and perhaps enough
    while _at_most(n_misses, high, ceiling) > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _at_most(n_misses, middle, ceiling) <= delta else (middle, high)
    return high


def certifiable_ceiling(n_positives: int, confidence: float, n_candidates: int = 1) -> float:
    """Return the least ceiling that `n_positives` certify when none is missed: 1 − (δ/M)^(1/n); 1 without any."""
    delta = _delta(0.5, confidence, n_candidates)
    return -math.expm1(math.log(delta) / n_positives) if n_positives else 1.0


def _certify(positives: Floats, unit: Unit, ceiling: float, confidence: float, n_candidates: int) -> Certificate:
    n = len(positives)
    n_allowed = allowed_misses(n, ceiling, confidence, n_candidates)
    ordered = np.sort(positives)
    threshold = None if n_allowed is None else _just_below(ordered, n_allowed)
    tightened = 1 - _delta(ceiling, confidence, n_candidates)
    return Certificate(
        unit=unit,
        ceiling=ceiling,
        confidence=confidence,
        n_candidates=n_candidates,
        n_positives=n,
        n_positives_needed=positives_needed(ceiling, confidence, n_candidates=n_candidates),
        certifiable_ceiling=certifiable_ceiling(n, confidence, n_candidates),
        n_allowed_misses=n_allowed,
        n_missed=None if threshold is None else int(np.sum(positives < threshold)),
        threshold=threshold,
        fnr_upper=None if n_allowed is None else upper_bound(n_allowed, n, tightened),
    )


def _just_below(ordered: Floats, rank: int) -> float:
    """Return a threshold under `ordered[rank]` by no more than float noise, and over the next lower score.

    Lower only misses fewer, so the certificate holds; noise in the score that set it no longer flips that call.
    """
    score = float(ordered[rank])
    n_below = int(np.searchsorted(ordered, score, side="left"))
    below = float(ordered[n_below - 1]) if n_below else -math.inf
    threshold = max(score - NOISE * abs(score), below / 2 + score / 2)
    return threshold if below < threshold else score


def _at_most(n_misses: npt.ArrayLike, n: int, ceiling: float) -> Floats:
    """Return P(Binomial(n, ceiling) ≤ n_misses) for n_misses < n, through the incomplete beta function."""
    misses = np.asarray(n_misses)
    return np.asarray(special.betainc(n - misses, misses + 1, 1 - ceiling), dtype=np.float64)


def _delta(ceiling: float, confidence: float, n_candidates: int) -> float:
    """Return the error probability of one candidate, after checking the three numbers."""
    for name, value in (("ceiling", ceiling), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {value!r}")
    if n_candidates < 1:
        raise ValueError(f"`n_candidates` must be at least 1, got {n_candidates!r}")
    return (1 - confidence) / n_candidates
