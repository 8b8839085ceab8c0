"""What a report shows, as plain data: no database, file or model behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pneumo_core.bundles.bundle import Bundle
from pneumo_core.data.split import RoleCount
from pneumo_core.result import TrialResult
from pneumo_core.scoring.assess import Assessment, Pair
from pneumo_core.scoring.intervals import Interval
from pneumo_core.scoring.metrics import Bools, Floats
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import ObjectiveSpec
from search.records import Scalar, Summary

NOTICEABLE = 0.1  # a correlation of ranks below this moves few images

State = Literal["feasible", "infeasible", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial. What it has not reached yet, or what is damaged in the database, is None or empty."""

    number: int
    state: State
    values: tuple[float, ...] = ()  # what the study maximises; for pruned trials at their best epoch
    constraint: float | None = None  # FNR − ceiling
    params: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: Metrics | None = None
    own_metrics: Mapping[str, float] = field(default_factory=dict)  # that the study file defines
    reported: Mapping[int, float] = field(default_factory=dict)  # the pruning metric by epoch
    seconds: float | None = None
    n_parameters: int | None = None
    n_epochs: int | None = None
    failure: str = ""  # a short stable word
    message: str = ""
    repeats: int | None = None
    paused_px: int | None = None  # side of the images at whose rung it was paused: cheap trials first
    environment: Mapping[str, str] = field(default_factory=dict)
    began: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DataFlow:
    """From the files that were found to the roles."""

    negative: str
    positive: str
    roles: tuple[RoleCount, ...]
    n_patients: int
    rejected: tuple[tuple[str, str], ...]  # (path, reason)
    notes: tuple[str, ...]
    leaks: bool

    @property
    def n_images(self) -> int:
        return sum(role.n_images for role in self.roles)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What trials were judged on, in the order of their scores: the validation role, or all that folds hold out."""

    x: NDArray[np.uint8]  # (n, h, w, c)
    y: Bools  # (n,)
    paths: tuple[str, ...]
    groups: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval; `hits` of `n` where it is a proportion."""

    value: float
    interval: Interval
    hits: int | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What one trial does on validation at its threshold."""

    y: Bools  # (n,)
    scores: Floats  # (n,); under shifts those of the images as they are, then those under their shifts
    groups: tuple[str, ...]  # (n,) patients
    assessment: Assessment
    region: tuple[Interval, Interval]  # of recall and specificity, jointly 95 %

    @property
    def threshold(self) -> float:
        return self.assessment.threshold

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Return recall, specificity, fnr, ppv, npv and accuracy, those with a denominator, and the areas."""
        of, c = self.assessment, self.assessment.confusion
        n_ill, n_well = of.n_positive, of.n - of.n_positive
        known = {
            "recall": (of.recall, of.recall_ci, n_ill),
            "specificity": (of.specificity, of.specificity_ci, n_well),
            "fnr": (of.fnr, (1 - of.recall_ci[1], 1 - of.recall_ci[0]), n_ill),
            "ppv": (of.ppv, of.ppv_ci, c.true_positive + c.false_positive),
            "npv": (of.npv, of.npv_ci, c.true_negative + c.false_negative),
            "accuracy": (of.accuracy, of.accuracy_ci, of.n),
            "auc": (of.auc, of.auc_ci, None),
            "pauc": (of.pauc, of.pauc_ci, None),
        }
        return {
            name: self._estimate(value, pair, n)
            for name, (value, pair, n) in known.items()
            if value is not None and pair is not None
        }

    @property
    def recall_by_kind(self) -> Mapping[str, Estimate]:
        """Return the recall of bacteria and virus, where file names say which. Nothing for a single kind."""
        found = self.assessment.recall_by_kind
        return {kind: self._estimate(of.recall, of.recall_ci, of.n) for kind, of in found.items()}

    @property
    def patients_missed(self) -> Estimate:
        """Return the share of positive patients with at least one missed image."""
        of = self.assessment.by_patient
        return self._estimate(of.fnr, of.fnr_ci, of.n)

    def _estimate(self, value: float, pair: Pair, n: int | None) -> Estimate:
        interval = Interval(low=pair[0], high=pair[1], confidence=self.assessment.confidence)
        return Estimate(value=value, interval=interval, hits=None if n is None else round(value * n), n=n)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A model's threshold-free figures on validation, and by how much the shown trial is ahead of it."""

    name: str
    what: str
    scores: Floats  # (n,)
    estimates: Mapping[str, Estimate]  # auc, recall (at the floor), specificity (at the ceiling)
    margins: Mapping[str, Estimate]  # the same keys; empty for the shown trial itself


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """How far the shown trial's scores follow one fact of the images."""

    fact: str
    class_auc: float  # how well the fact alone predicts the class; above 0.5 where ill images have more of it
    within: Mapping[int, Estimate]  # by class, 0 and 1: rank correlation with the scores, where both vary

    def follows(self, label: int) -> bool:
        """Whether scores within the class rise towards what the other class looks like, beyond chance."""
        found = self.within.get(label)
        if found is None or abs(self.class_auc - 0.5) < NOTICEABLE / 2:
            return False
        sign = 1 if self.class_auc > 0.5 else -1
        return sign * found.value >= NOTICEABLE and min(sign * found.interval.low, sign * found.interval.high) > 0


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of each parameter for reaching the best trials by `target`, largest first; sums to 1."""

    target: str
    shares: Mapping[str, float]
    reason: str = ""  # why there is none


@dataclass(frozen=True, kw_only=True)
class ImageCard:
    """One image of a gallery."""

    name: str
    kind: str
    score: float
    jpeg: bytes  # the radiograph itself, where its file is there; else what the network was given
    overlay: bytes | None  # PNG of the same image with a saliency map over it


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures of one kind of error."""

    n: int  # how many there are; `cards` may show fewer
    cards: tuple[ImageCard, ...]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What the study is, as its creator stored it."""

    description: str
    facts: Mapping[str, str]
    space: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything on the page."""

    study: str
    summary: Summary
    objective: ObjectiveSpec
    metric_names: tuple[str, ...]
    definition: Definition
    made_at: datetime
    trials: tuple[TrialRow, ...]  # those that count, by number
    best: TrialRow | None  # best feasible
    shown: TrialRow | None  # `best`, else the one nearest to the ceiling
    results: Mapping[int, TrialResult]  # with training curves, of the top trials; best first
    importances: tuple[Importance, ...]
    versions: Mapping[str, str]  # of what made the report
    n_folds: int | None = None  # that trials are judged out of; None: on the validation role
    n_openings: int = 0  # how often the images of the test role were opened, by any study
    bundle: Bundle | None = None  # that `finalize` is making, whose report this is
    no_data: str = ""  # why there is nothing below, and what to do
    flow: DataFlow | None = None
    validation: Validation | None = None
    performance: Performance | None = None  # of `shown`
    no_performance: str = ""
    compared: tuple[Compared, ...] = ()  # the shown trial first
    leanings: tuple[Leaning, ...] = ()  # of `shown`
    no_leanings: str = ""  # why there are none
    missed: Gallery | None = None
    false_alarms: Gallery | None = None

    @property
    def is_shifted(self) -> bool:
        """Whether trials are judged on each image twice, as it is and under one shift."""
        return bool(self.objective.shifts)

    @property
    def judged_on(self) -> str:
        if self.n_folds is not None:
            return "images held out of training"
        return "validation, as it is and under shifts" if self.is_shifted else "validation"

    @property
    def step(self) -> str:
        """Return the word for what a trial reports after."""
        return "epoch" if self.n_folds is None else "fold"
