"""Which parameters matter, for the value and for meeting the ceiling (PED-ANOVA, Watanabe et al. 2023)."""

import math
import warnings
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import trials
from search.report.data import Importance

MIN_TRIALS = 10  # PED-ANOVA looks at the best tenth: with fewer there is nothing to look at

Target = Callable[[FrozenTrial], float]  # lower is better


def importances(study: optuna.Study, metric_names: Sequence[str]) -> tuple[Importance, ...]:
    """Return the importance for each objective, then for the constraint. Only complete trials are asked."""
    wanted: dict[str, Target] = {name: _value(index) for index, name in enumerate(metric_names)}
    return tuple(_importance(study, name, target) for name, target in {**wanted, "feasibility": _violation}.items())


def _value(index: int) -> Target:
    return lambda trial: -trial.values[index]


def _violation(trial: FrozenTrial) -> float:
    return trial.constraints.get(trials.CONSTRAINT, math.nan)


def _importance(study: optuna.Study, name: str, target: Target) -> Importance:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    usable = [found for trial in complete if math.isfinite(found := target(trial))]
    if len(usable) < MIN_TRIALS:
        return Importance(target=name, shares={}, reason=f"needs {MIN_TRIALS} complete trials, there are {len(usable)}")
    if len(set(usable)) == 1:
        return Importance(target=name, shares={}, reason="all complete trials are equal in this")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lower is better, which holds here, and that regimes are small
        return Importance(target=name, shares=optuna.importance.get_param_importances(study, target=target))
