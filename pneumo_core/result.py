"""The result of one trial, as data."""

from dataclasses import dataclass, field
from typing import Literal

from pneumo_core.scoring.operating import Metrics

Stopped = Literal["completed", "early", "pruned", "paused"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network, in the order of the calls."""

    name: str
    kind: str  # Keras' class
    shape: tuple[int, ...]  # of what it gives for one image
    n_parameters: int
    trains: bool  # False: frozen, or without weights


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A finished trial; `values`, `constraint`, `metrics` and `scores` are those of its best epoch's weights.

    Under an objective with shifts, `values`, `constraint` and `metrics` are of `scores` and `shifted_scores` pooled.

    Over folds they are those of the folds' models together: each image is scored by the one that never saw it.
    """

    values: tuple[float, ...]  # what the study maximises
    constraint: float  # FNR - ceiling: feasible iff <= 0
    metrics: Metrics
    value_se: float = 0.0  # standard error of the first value over patients; 0: unknown
    best_epoch: int  # from 1 on, by the monitored metric; over folds the median one
    n_epochs: int  # over folds of all of them
    n_parameters: int
    seconds: float  # of training and validation, those before an interruption included
    stopped: Stopped
    history: tuple[dict[str, float], ...]  # one entry an epoch, or a fold
    scores: tuple[float, ...]  # (n_validation,) as they were judged; over folds of all images scored, as pooled
    environment: dict[str, str]
    shifted_scores: tuple[float, ...] = ()  # of the same images, each under one shift; empty: judged as they are only
    family_aucs: dict[str, float] = field(default_factory=dict)  # AUC under the shifts of each family
    n_folds: int | None = None  # scored; None: judged on the validation role
    layers: tuple[Layer, ...] = ()  # of the network; over folds of each
