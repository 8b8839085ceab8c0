"""How good a procedure for setting a threshold is: set on one half of the patients, judged on the other, many times."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumo_core.scoring import metrics
from pneumo_core.scoring.certify import certify_both
from pneumo_core.scoring.metrics import Bools, Floats, Ints

N_HALVES = 100
CENTRAL = 0.95  # share of the halves between `low` and `high`


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over repeated halves."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Halves:
    """False-negative rate and specificity on halves that didn't set the threshold, with the new one and the old one."""

    n: int
    n_certified: int  # halves with enough positives; the others take their lowest positive score as threshold
    new: Mapping[str, Spread]  # fnr, specificity
    old: Mapping[str, Spread]


def repeated_halves(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    old_threshold: float,
    patients_known: bool,
    ceiling: float,
    confidence: float,
    n_halves: int = N_HALVES,
    seed: int = 0,
) -> Halves:
    """Certify a threshold on a random half of the patients and judge it, and the old one, on the other half.

    Patients with positive images are halved apart from the others. `groups` (n,) names the patient of each image.
    """
    labels, values = metrics.check_both_classes(y, scores)
    patients = np.unique(np.asarray(groups), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    new: list[tuple[float, float]] = []
    old: list[tuple[float, float]] = []
    n_certified = 0
    for _ in range(n_halves):
        setting = _half(labels, patients, generator)
        found = certify_both(
            labels[setting],
            values[setting],
            patients[setting],
            patients_known=patients_known,
            ceiling=ceiling,
            confidence=confidence,
        ).threshold
        n_certified += found is not None
        threshold = float(values[setting & labels].min()) if found is None else found
        new.append(_rates(labels[~setting], values[~setting], threshold))
        old.append(_rates(labels[~setting], values[~setting], old_threshold))
    return Halves(n=n_halves, n_certified=n_certified, new=_spreads(new), old=_spreads(old))


def _half(labels: Bools, patients: Ints, generator: np.random.Generator) -> Bools:
    """Return the images of a random half of the patients of each kind, (n,); at least one of each kind is left out."""
    is_ill = np.bincount(patients, weights=labels) > 0
    chosen = np.zeros(len(is_ill), bool)
    for kind in (is_ill, ~is_ill):
        mine = generator.permutation(np.flatnonzero(kind))
        chosen[mine[: len(mine) // 2]] = True
    return np.asarray(chosen[patients])


def _rates(labels: Bools, values: Floats, threshold: float) -> tuple[float, float]:
    called = values >= threshold
    return float(np.mean(~called[labels])), float(np.mean(~called[~labels]))


def _spreads(found: list[tuple[float, float]]) -> dict[str, Spread]:
    table = np.array(found)  # (n_halves, 2)
    ends = np.quantile(table, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2], axis=0)
    return {
        name: Spread(mean=float(table[:, i].mean()), low=float(ends[0, i]), high=float(ends[1, i]))
        for i, name in enumerate(("fnr", "specificity"))
    }
