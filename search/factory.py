"""Specs of samplers and pruners to Optuna's objects."""

import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from pneumo_core.errors import UserError
from search import trials
from search.grid import Grid
from spaces.base import Parameter
from studies.probing import Probes
from studies.spec import FidelitySpec, PrunerSpec, Sampler, SamplerSpec, StudySpec

MISSING_TORCH = "sampler 'gp' needs the package `torch`: pip install 'pneumo-search[gp]'; or use 'tpe' or 'auto'"
GP_PARAMETERS, GP_TRIALS = 20, 300  # beyond these its model is slow


class EachOnce:
    """A study as TPE should see it: a configuration that was trained in stages is one trial, the last that ended."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, *arguments: Any, **named: Any) -> list[FrozenTrial]:
        found = self._study._get_trials(*arguments, **named)  # by number
        last = {trials.root(trial): trial for trial in found}
        return [trial for trial in found if last[trials.root(trial)] is trial]


class SharingTPESampler(TPESampler):
    """A TPE sampler that is given the parameters that all trials share, where Optuna's reads every trial to find them.

    It takes them from an object that outlives it and looks at new trials only; the suggestions are the same. A
    configuration counts once, however many stages it was trained in.
    """

    def __init__(self, shared: IntersectionSearchSpace, *, seed: int, n_startup_trials: int) -> None:
        super().__init__(seed=seed, n_startup_trials=n_startup_trials)
        self._shared = shared

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(study.directions) > 1:
            return super().infer_relative_search_space(study, trial)
        return {name: of for name, of in self._shared.calculate(study).items() if not of.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(cast(optuna.Study, EachOnce(study)), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        seen = cast(optuna.Study, EachOnce(study))
        return super().sample_independent(seen, trial, param_name, param_distribution)


def sampler(
    spec: Sampler,
    seed: int,
    parameters: Mapping[str, Parameter],
    shared: IntersectionSearchSpace,
    *,
    sequence_seed: int,
) -> BaseSampler:
    """Return the sampler of `spec`, or `spec` itself, seeded anew, where it is one of Optuna's interface.

    `seed` differs from trial to trial, `sequence_seed` doesn't: it is that of samplers which walk one fixed sequence.
    `parameters` are those of the space, which a grid must know in advance; `shared` is the study's own, kept from
    one sampler to the next.
    """
    if not isinstance(spec, SamplerSpec):
        return reseeded(spec, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if spec.kind == "gp":
            return GPSampler(seed=seed, n_startup_trials=spec.n_startup_trials)
        if spec.kind in ("tpe", "auto"):
            return SharingTPESampler(shared, seed=seed, n_startup_trials=spec.n_startup_trials)
        if spec.kind == "nsga2":
            return NSGAIISampler(seed=seed)
        if spec.kind == "qmc":
            fallback = RandomSampler(seed=seed)  # draws what the first trial lacked
            return QMCSampler(seed=sequence_seed, scramble=True, independent_sampler=fallback)
        if spec.kind == "grid":
            return Grid(parameters, sequence_seed)
        return RandomSampler(seed=seed)


def resolved(spec: StudySpec, found: Probes) -> Sampler:
    """Return the study's sampler, "auto" as the kind that suits the space.

    A Gaussian process learns most from few trials, but of parameters that every trial has. Raises `UserError` where its
    package is missing.
    """
    given = spec.sampler
    if not isinstance(given, SamplerSpec) or given.kind not in ("auto", "gp"):
        return given
    has_torch = importlib.util.find_spec("torch") is not None
    if given.kind == "gp":
        if not has_torch:
            raise UserError(MISSING_TORCH)
        return given
    suits = has_torch and not found.conditional and len(found.parameters) <= GP_PARAMETERS
    return replace(given, kind="gp" if suits and spec.budget.trials <= GP_TRIALS else "tpe")


def notes(given: Sampler) -> list[str]:
    """Return what people should know of a sampler of their own."""
    if isinstance(given, SamplerSpec | TPESampler | GPSampler | NSGAIISampler | NSGAIIISampler):
        return []
    return [
        f"Sampler {name_of(given)} is not known to honour constraints: it may not see the false-negative ceiling, "
        "which still decides what trial is the best."
    ]


def name_of(given: Sampler) -> str:
    return str(given.kind) if isinstance(given, SamplerSpec) else type(given).__name__


def reseeded(given: BaseSampler, seed: int) -> BaseSampler:
    """Return `given` with every random state of Optuna's in it seeded, so that a resumed search suggests the same."""
    for value in vars(given).values():
        if isinstance(value, LazyRandomState):
            value.rng.seed(seed)
        elif isinstance(value, BaseSampler):
            reseeded(value, seed)
    return given


def pruner(
    spec: PrunerSpec, max_epochs: int, folds: int | None = None, fidelity: FidelitySpec | None = None
) -> BasePruner:
    """Return the pruner of `spec` for trials of at most `max_epochs`, which must be the same in every process."""
    kind = spec.kind_for(folds, fidelity)
    if kind == "median":
        return MedianPruner(n_startup_trials=spec.n_startup_trials, n_warmup_steps=spec.n_warmup_epochs)
    if kind == "successive_halving":
        return SuccessiveHalvingPruner(
            min_resource=max(1, spec.n_warmup_epochs), reduction_factor=spec.reduction_factor
        )
    if kind == "hyperband":
        return HyperbandPruner(
            min_resource=max(1, spec.n_warmup_epochs), max_resource=max_epochs, reduction_factor=spec.reduction_factor
        )
    if kind == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return WilcoxonPruner(p_threshold=spec.p_threshold)
    return NopPruner()
