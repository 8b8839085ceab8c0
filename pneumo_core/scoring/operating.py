"""The operating point of a trial on validation data, and the value and constraint that the search sees.

Calling everyone positive (specificity 0) is no operating point under any objective, whatever the floor. All
that is left to a constant score, always-positive and always-negative alike, is then calling no one positive:
FNR 1, constraint 1 − ceiling, the worst there is. Its value is the least or chance as well, where one number
can say so:

| objective              | operating point, among cuts with specificity > 0               | value          | constant |
|------------------------|----------------------------------------------------------------|----------------|----------|
| recall                 | specificity ≥ floor: most recall                               | recall + shade | ~0       |
| specificity            | FNR ≤ ceiling: most specificity; if none, least FNR, value ~0  | spec. + shade  | ~0       |
| pauc                   | as recall                                                      | partial AUC    | 0.5      |
| auc                    | as recall                                                      | AUC            | 0.5      |
| recall_and_specificity | floor and ceiling: most Youden J; if none, as recall           | recall, spec.  | (0, 1)   |

The constraint is always FNR − ceiling at the operating point, feasible when ≤ 0. The thresholds here are plug-in:
chosen and judged on the same data, good for ranking trials and for nothing more. `certify` makes the promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from pneumo_core import shifts
from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.metrics import Bools, Cuts, Floats, Ints
from pneumo_core.specs import ObjectiveSpec

N_RESAMPLES = 200  # give a standard error to a twentieth


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What one model does on validation at its operating point; `pauc` is over FNR ≤ the objective's ceiling."""

    recall: float
    specificity: float
    fnr: float
    auc: float
    pauc: float
    threshold: float  # positive iff score >= threshold


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Objective values (each to be maximised), the constraint (feasible when ≤ 0) and the metrics behind them."""

    values: tuple[float, ...]
    constraint: float
    metrics: Metrics

    @property
    def feasible(self) -> bool:
        return self.constraint <= 0


def pooled(y: Ints, scores: Floats, shifted: Floats | None) -> tuple[Ints, Floats]:
    """Return labels and scores (n,) of images as they are, or (2n,) with those of the same images under their shifts.

    At one scale: a network whose scores drift under a shift needs another threshold there, and pays for it here.
    """
    return (y, scores) if shifted is None else (np.concatenate([y, y]), np.concatenate([scores, shifted]))


def family_aucs(y: Ints, shifted: Floats, names: Sequence[str]) -> dict[str, float]:
    """Return the AUC of the shifted scores (n,) under each family of `names`, where it has images of both classes."""
    given = np.array(names)[shifts.assigned(names, len(y))]  # (n,)
    found = {}
    for family, of_family in shifts.FAMILIES.items():
        mine = np.isin(given, list(of_family))
        if len(np.unique(y[mine])) == 2:
            found[family] = metrics.auc(y[mine], shifted[mine])
    return found


def judge(y: npt.ArrayLike, scores: npt.ArrayLike, objective: ObjectiveSpec) -> Judgement:
    """Choose the operating point of `scores` (n,) against `y` (n,) and judge it by `objective`.

    Raises `ValueError` for NaN or infinite scores and for a single class.
    """
    cuts = metrics.cuts(y, scores)
    cut = _choose(cuts, objective)
    measured = Metrics(
        recall=(cuts.n_positives - int(cuts.n_missed[cut])) / cuts.n_positives,
        specificity=float(cuts.specificity[cut]),
        fnr=float(cuts.fnr[cut]),
        auc=cuts.auc,
        pauc=cuts.pauc(objective.fnr_ceiling),
        threshold=cuts.threshold(cut),
    )
    return Judgement(
        values=_values(measured, cuts, objective),
        constraint=measured.fnr - objective.fnr_ceiling,
        metrics=measured,
    )


def value_se(y: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, objective: ObjectiveSpec) -> float:
    """Return the standard error of the first objective value: its deviation over resamples of whole patients.

    `groups` (n,) names the patient of each image. Trials whose values are closer than this cannot be ranked.
    """
    labels, values = np.asarray(y, np.bool_), np.asarray(scores)
    drawn = intervals.resamples(labels, groups, seed=0, n_resamples=N_RESAMPLES)
    return float(np.std([judge(labels[rows], values[rows], objective).values[0] for rows in drawn], ddof=1))


def pruning_metric(y: npt.ArrayLike, scores: npt.ArrayLike, objective: ObjectiveSpec) -> float:
    """Return the threshold-free number that pruning compares between epochs and trials; higher is better.

    `recall` (and `auc`) take the AUC, `pauc` itself, the others the mean of both. Over 2,000 simulated models
    (binormal, unequal variances, 580 positives and 200 negatives) the rank correlation with the true recall at
    specificity 0.9 was 0.93 for the AUC, 0.65 for the partial AUC and 0.79 for the mean; with the true specificity at
    FNR 0.03 it was 0.88, 0.98 and 0.97, and with 30 positives 0.69, 0.74 and 0.77.
    """
    cuts = metrics.cuts(y, scores)
    match objective.kind:
        case "recall" | "auc":
            return cuts.auc
        case "pauc":
            return cuts.pauc(objective.fnr_ceiling)
        case "specificity" | "recall_and_specificity":
            return (cuts.auc + cuts.pauc(objective.fnr_ceiling)) / 2
        case _:
            assert_never(objective.kind)


def _choose(cuts: Cuts, objective: ObjectiveSpec) -> int:
    """Return the index of the best cut; recall falls and specificity rises with the index."""
    cleared, missed = cuts.n_cleared, cuts.n_missed
    admitted = cleared > 0  # the last cut clears every negative: never empty
    if objective.kind != "specificity":
        admitted &= cuts.specificity >= objective.specificity_floor
    under_ceiling = admitted & (cuts.fnr <= objective.fnr_ceiling)
    if under_ceiling.any() and objective.kind == "specificity":
        return _best(under_ceiling, cleared, -missed)
    if under_ceiling.any() and objective.kind == "recall_and_specificity":
        youden = cleared * cuts.n_positives - missed * cuts.n_negatives  # J × both counts: exact
        return _best(under_ceiling, youden, -missed)
    return _best(admitted, -missed, cleared)


def _best(admitted: Bools, first: Ints, then: Ints) -> int:
    """Return the admitted index with the largest `first`, ties broken by the largest `then`."""
    candidates = np.flatnonzero(admitted)
    return int(candidates[np.lexsort((then[candidates], first[candidates]))[-1]])


def _values(measured: Metrics, cuts: Cuts, objective: ObjectiveSpec) -> tuple[float, ...]:
    match objective.kind:
        case "recall":
            return (measured.recall + _shade(measured, cuts.n_positives),)
        case "specificity":
            reached = measured.specificity if measured.fnr <= objective.fnr_ceiling else 0.0
            return (reached + _shade(measured, cuts.n_negatives),)
        case "pauc":
            return (measured.pauc,)
        case "auc":
            return (measured.auc,)
        case "recall_and_specificity":  # unshaded: a shade on one value could undo dominance in the other
            return (measured.recall, measured.specificity)
        case _:
            assert_never(objective.kind)


def _shade(measured: Metrics, n: int) -> float:
    """Return a tie-break below half a step of 1/`n`: the sampler sees which of two equal rates ranks better."""
    return measured.pauc / (2 * n)
