"""A study as data: what is searched, what is maximised under which ceiling, how, and for how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pneumo_core import shifts
from pneumo_core.checked import Checked, Range, check_range
from pneumo_core.data.source_spec import LabelTable as LabelTable
from pneumo_core.data.source_spec import SourceSpec as SourceSpec
from pneumo_core.errors import nearest
from pneumo_core.files import names_folder
from pneumo_core.scoring.metrics import Floats, Ints
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, Epochs, KerasTunerSpec, ObjectiveSpec, Share, SomeShare, TrialSpec, smallest_px
from spaces.base import Scalar, Suggest
from studies import preferences

Space = Callable[[Suggest], TrialSpec]
Metric = Callable[[Ints, Floats, float], float]
"""From labels (n,) of 0 and 1, scores (n,) in [0, 1] and the trial's threshold (positive iff score >= threshold)."""
SamplerKind = Literal["auto", "tpe", "gp", "random", "qmc", "grid", "nsga2"]
Sampler = Any
"""A `SamplerSpec`, or a sampler of Optuna's interface."""
Hook = Any
"""An object with methods named as the events of `search.watching.views.View`, or where to find it: "module:Name"."""
EVENTS = ("study_began", "started", "epoch", "finished", "failed", "ended", "new_best", "study_ended")
PrunerKind = Literal["median", "successive_halving", "hyperband", "wilcoxon", "none"]
MAX_FOLDS = 20  # each is a training of its own
UNDER_SHIFTS = ObjectiveSpec(kind="specificity", shifts=shifts.ALL)
"""What the studies that people start with maximise: specificity where at most 3 % of the ill are missed, over images as
they are and as other hospitals might have sent them."""


@dataclass(frozen=True, kw_only=True)
class SamplerSpec(Checked):
    """How the next trial is chosen."""

    kind: SamplerKind = "tpe"  # honours the ceiling and copes with conditional parameters
    n_startup_trials: Annotated[int, Range(0, 100_000)] = 10  # random ones before the model of TPE is trusted

    def __post_init__(self) -> None:
        if str(self.kind) == "cmaes":
            raise ValueError(
                "sampler 'cmaes' can't be used: CMA-ES ignores constraints, so it would not see the "
                "false-negative ceiling; use 'tpe' or 'nsga2'"
            )
        _check_kind("sampler", self.kind, get_args(SamplerKind))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class PrunerSpec(Checked):
    """When a weak trial is stopped early, judged by the objective's threshold-free metric after each epoch or fold."""

    kind: PrunerKind | None = None  # None: median, and in a study over folds Wilcoxon
    n_startup_trials: Annotated[int, Range(0, 100_000)] = 4  # complete trials before anything is pruned (median only)
    n_warmup_epochs: Annotated[int, Range(0, 100_000)] = 2  # epochs that no trial is pruned in: first metrics are
    # mostly noise
    reduction_factor: Annotated[int, Range(2, 100)] = 3  # successive halving and Hyperband
    p_threshold: Share = 0.1  # Wilcoxon, Optuna's own: m folds all worse have p = 2^-m, so 4 of 5 may be enough

    def __post_init__(self) -> None:
        if self.kind is not None:
            _check_kind("pruner", self.kind, get_args(PrunerKind))
        super().__post_init__()

    def kind_for(self, folds: int | None, fidelity: "FidelitySpec | None" = None) -> PrunerKind:
        """Return the kind in a study over `folds` or with `fidelity`; raises `ValueError` for one that doesn't suit."""
        if fidelity is not None:
            if self.kind not in (None, "median", "none"):
                raise ValueError(
                    f"pruner {self.kind!r} can't be used with `fidelity`, which decides itself how far each trial "
                    "goes; use 'none' or 'median'"
                )
            return self.kind or "none"
        kind = self.kind or ("median" if folds is None else "wilcoxon")
        if kind == "wilcoxon" and folds is None:
            raise ValueError("pruner 'wilcoxon' compares trials fold by fold, so `folds` must be a number, got None")
        if folds is not None and kind not in ("wilcoxon", "none"):
            raise ValueError(
                f"pruner {kind!r} compares trials epoch by epoch, but a study with `folds` (got {folds}) reports once "
                "a fold; use 'wilcoxon' or 'none'"
            )
        return kind


@dataclass(frozen=True, kw_only=True)
class Rung(Checked):
    """A cheap stage of every trial: smaller images, up to an epoch at which it is paused and compared."""

    scale: Annotated[
        float, Range(0.05, 1.0)
    ]  # of the trial's own `image_size_px`; the result is rounded to a multiple of 8
    epochs: Epochs  # trained when the rung ends, those of the rungs before it included
    patients: SomeShare = 1.0  # share of the trial's own training patients, others in each trial


@dataclass(frozen=True, kw_only=True)
class FidelitySpec(Checked):
    """Cheap trials first: all are paused at the first rung, and the best of each rung continue to the next.

    Behind the last rung a trial trains to its own end at its own image size. Asynchronous successive halving (Li et
    al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2).
    """

    rungs: tuple[Rung, ...] = (Rung(scale=0.5, epochs=3), Rung(scale=0.75, epochs=6))
    reduction_factor: Annotated[int, Range(2, 100)] = 3  # one in so many continues

    def __post_init__(self) -> None:
        rungs = self.rungs
        if not (isinstance(rungs, tuple) and rungs and all(isinstance(rung, Rung) for rung in rungs)):
            raise ValueError(f"`rungs` must be a tuple of at least one Rung, got {rungs!r}")
        for before, after in pairwise(rungs):
            if after.epochs <= before.epochs or after.scale < before.scale or after.patients < before.patients:
                raise ValueError(
                    "`rungs` must come with rising `epochs` and no smaller `scale` or `patients`, got "
                    f"{before!r} before {after!r}"
                )
        super().__post_init__()

    @property
    def n_rungs(self) -> int:
        return len(self.rungs)

    def describe(self) -> str:
        """Return the stages in a line."""
        stages = [
            f"{rung.epochs} epochs at {rung.scale:g} of the image size"
            + (f" on {rung.patients:g} of the patients" if rung.patients < 1 else "")
            for rung in self.rungs
        ]
        return f"{', then to '.join(stages)}, then all; the best 1 in {self.reduction_factor} continue"

    def data_at(self, trial: TrialSpec, stage: int) -> DataSpec:
        """Return the images that `trial` is trained on at rung `stage`, its own ones behind the last."""
        own_px = trial.data.image_size_px
        if stage >= self.n_rungs or self.rungs[stage].scale == 1.0:
            return trial.data
        side_px = max(8 * round(self.rungs[stage].scale * own_px / 8), 8, smallest_px(trial.model))
        return replace(trial.data, image_size_px=min(own_px, side_px))

    def check(self, trial: TrialSpec) -> None:
        """Raise `ValueError` for a trial that ends before the last rung does, or whose network has one image size."""
        if isinstance(trial.model, KerasTunerSpec) and self.rungs[0].scale < 1:
            raise ValueError(
                f"`scale` of every rung must be 1 with {trial.model.name}, got {self.rungs[0].scale:g}: the network "
                "of a KerasTuner model takes images of its own size only"
            )
        if trial.train.epochs <= self.rungs[-1].epochs:
            raise ValueError(
                f"`epochs` of every trial must be above the {self.rungs[-1].epochs} of the last of `fidelity.rungs`, "
                f"got {trial.train.epochs}"
            )


@dataclass(frozen=True, kw_only=True)
class BudgetSpec(Checked):
    """Total number of trials, whatever number of launches they take; optional wall-clock limit of one launch."""

    trials: Annotated[int, Range(1, 10_000_000)] = 50
    timeout_s: Annotated[float, Range(0.001, 1e9)] | None = None
    max_retries: Annotated[int, Range(0, 1000)] = (
        2  # a trial whose process died continues from its checkpoint this many
    )
    # times
    patience_trials: Annotated[int, Range(1, 10_000_000)] | None = None  # stop when so many trials in a row brought no
    # better feasible one
    max_same_failures: Annotated[int, Range(1, 1_000_000)] = 5  # consecutive failures of one cause before the search
    # stops with a diagnosis


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A whole study. `space` must be a pure function of what it is suggested."""

    name: str
    space: Space
    objective: ObjectiveSpec = field(default_factory=ObjectiveSpec)
    data: SourceSpec = field(default_factory=SourceSpec)
    sampler: Sampler = field(default_factory=SamplerSpec)
    pruner: PrunerSpec = field(default_factory=PrunerSpec)
    budget: BudgetSpec = field(default_factory=BudgetSpec)
    folds: int | None = None  # judge trials out of so many folds of train and validation; None: on validation
    fidelity: FidelitySpec | None = None  # cheap trials first; None: each is trained in one go
    prefer: tuple[str, ...] = ()  # names of `preferences.PREFERENCES`: they decide where validation can't
    enqueue: tuple[Mapping[str, Scalar], ...] = ()  # full parameter sets that run first
    metrics: Mapping[str, Metric] = field(default_factory=dict)  # figures of each trial beside ours; steer nothing
    hooks: tuple[Hook, ...] = ()  # receivers of the search's events: see docs/hooks.md
    seed: int = 0
    deterministic: bool = False  # suggestions and pruning don't depend on which worker is faster: epochs in step
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name != self.name.strip() or not names_folder(self.name):
            raise ValueError(
                "`name` must name a folder: 1 to 100 bytes of printable text without '/', a dot in front or blanks "
                f"around it, got {self.name!r}"
            )
        if not callable(self.space):
            raise ValueError(f"`space` must be a function of a `Suggest`, got {type(self.space).__name__}")
        for field_name, kind in _PARTS.items():
            value = getattr(self, field_name)
            if not isinstance(value, kind) and not (field_name == "sampler" and _is_sampler(value)):
                raise ValueError(f"`{field_name}` must be a {kind.__name__}, got {value!r}")
        for metric_name, metric in self.metrics.items():
            if not metric_name.isidentifier() or not callable(metric):
                raise ValueError(
                    "`metrics` must map names such as 'f2_score' to functions of labels, scores and threshold, got "
                    f"{metric_name!r}: {metric!r}"
                )
        preferences.check(self.prefer)
        for hook in self.hooks:
            _check_hook(hook)
        check_range("seed", self.seed, 0, 2**32 - 1)
        if self.folds is not None:
            check_range("folds", self.folds, 2, MAX_FOLDS)
            if self.objective.shifts:
                raise ValueError(
                    "`shifts` of the objective are of the validation role, so `folds` must be None with them"
                )
        if self.fidelity is not None:
            _check_fidelity(self.fidelity, self.folds, self.objective)
        self.pruner.kind_for(self.folds, self.fidelity)


def fold_seed(spec: StudySpec) -> int:
    """Return the seed of the study's folds: one for all trials, so that they can be compared fold by fold."""
    return derive(spec.seed, "folds")


def _is_sampler(value: object) -> bool:
    return not isinstance(value, type) and all(
        hasattr(value, name) for name in ("sample_relative", "sample_independent")
    )


def _check_hook(hook: Hook) -> None:
    if isinstance(hook, str):
        return
    own = [name for name in dir(hook) if not name.startswith("_") and callable(getattr(hook, name))]
    if isinstance(hook, type) or not set(own) & set(EVENTS):
        raise ValueError(
            f"`hooks` must have objects with at least one of the methods {', '.join(EVENTS)}, or names such as "
            f"'mlflow', got {hook!r}"
        )


def _check_fidelity(fidelity: object, folds: int | None, objective: ObjectiveSpec) -> None:
    if not isinstance(fidelity, FidelitySpec):
        raise ValueError(f"`fidelity` must be a FidelitySpec or None, got {fidelity!r}")
    if folds is not None:
        raise ValueError(f"`fidelity` compares trials epoch by epoch, so `folds` must be None with it, got {folds}")
    if objective.kind == "recall_and_specificity":
        raise ValueError(
            "`fidelity` ranks trials by one metric, so the objective can't be 'recall_and_specificity'; use another "
            "objective, or fidelity=None"
        )


_PARTS = {
    "objective": ObjectiveSpec,
    "data": SourceSpec,
    "sampler": SamplerSpec,
    "pruner": PrunerSpec,
    "budget": BudgetSpec,
}


def _check_kind(what: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise ValueError(f"{what} {kind!r} is unknown{nearest(str(kind), known)}")
