"""A grid of any size in an order shuffled by the seed, never listed as a whole."""

import random
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.errors import StudyError
from pneumo_core.tuner.dialogue import DRAWN
from spaces.base import Parameter, Scalar

GRID_ID = "grid_id"  # attribute of a trial: which point of the grid it is
_ENDED_WELL = (TrialState.COMPLETE, TrialState.PRUNED)


class Grid(BaseSampler):
    """The points of a grid, each once; beyond the grid comes one at which a trial ended well, whose result is repeated.

    A point is a number whose digits, one a parameter, say which of its levels it has. Optuna's own sampler lists all
    points, which takes gigabytes for 10⁹ of them, and ends the study with the grid, which here the budget does.
    """

    def __init__(self, parameters: Mapping[str, Parameter], seed: int) -> None:
        made = {name for name in parameters if name + DRAWN in parameters}  # of what is drawn under the other name
        self._sizes = {name: n_levels(name, p) for name, p in parameters.items() if name not in made}
        self._seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Choose the next point, but not for a queued point or for a trial that continues one."""
        if GRID_ID in trial.system_attrs or trial.system_attrs.get("fixed_params"):
            return
        every = study._storage.get_all_trials(study._study_id, deepcopy=False)  # some pruners hide some in `study`
        begun = {t.system_attrs[GRID_ID]: t for t in every if GRID_ID in t.system_attrs}
        fresh = (point for point in shuffled(prod(self._sizes.values()), self._seed) if point not in begun)
        again = (point for point, t in sorted(begun.items()) if t.state in _ENDED_WELL)
        study._storage.set_trial_system_attr(trial._trial_id, GRID_ID, next(fresh, next(again, 0)))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the level of the trial's point. A queued point that lacks a name has the first one."""
        point = study._storage.get_trial(trial._trial_id).system_attrs.get(GRID_ID, 0)
        for name, size in self._sizes.items():
            point, digit = divmod(point, size)
            if name == param_name:
                found = _levels(param_distribution)
                return found[digit % len(found)]
        raise ValueError(f"parameter `{param_name}` is asked for so rarely that the grid does not know it")


def shuffled(n: int, seed: int) -> Iterator[int]:
    """Yield 0 to `n` - 1, each once, in an order of `seed`; takes memory for what was yielded only (Fisher–Yates)."""
    rng, moved = random.Random(seed), dict[int, int]()
    for i in range(n):
        j = rng.randrange(i, n)
        yield moved.get(j, j)
        moved[j] = moved.pop(i, i)


def n_levels(name: str, parameter: Parameter) -> int:
    """Return how many values a parameter has. Raises `StudyError` for one with no step."""
    if parameter.kind == "categorical":
        return len(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.step is None or parameter.log:
        raise StudyError(
            f"sampler 'grid' needs a finite space, but `{name}` is a {parameter}: "
            "give it a step or choices, or use 'qmc' or 'random'"
        )
    return int((parameter.high - parameter.low) / parameter.step + 1e-9) + 1


def _levels(distribution: BaseDistribution) -> Sequence[Scalar]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    step = distribution.step or 1
    n = int((distribution.high - distribution.low) / step + 1e-9) + 1
    return [min(distribution.low + step * i, distribution.high) for i in range(n)]
