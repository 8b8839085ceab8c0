"""A study's own metrics: computed where a trial ends, from its stored scores, and kept beside its other figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pneumo_core.data import folds, preprocess
from pneumo_core.errors import describe
from pneumo_core.result import TrialResult
from pneumo_core.scoring.metrics import Ints
from studies.spec import Metric

PREFIX = "metric_"  # of their attributes, so that no name can hide another figure
FAILED = "failed_metrics"


def measure(
    metrics: Mapping[str, Metric], arrays: Path, n_folds: int | None, fold_seed: int, result: TrialResult
) -> dict[str, Any]:
    """Return the attributes of a trial on `arrays`: each metric's value, or under `FAILED` why there is none.

    A trial that was pruned over folds is measured on the folds that it finished, as its other figures are.
    """
    found: dict[str, Any] = {}
    failed = {}
    for name, metric in metrics.items():
        try:
            found[PREFIX + name] = _value(metric, _labels(arrays, n_folds, fold_seed, result.n_folds), result)
        except (Exception, SystemExit) as error:
            failed[name] = describe(error)
    return found | ({FAILED: failed} if failed else {})


def attributes_of(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those attributes of a trial that `measure` wrote."""
    return {key: value for key, value in attrs.items() if key == FAILED or key.startswith(PREFIX)}


def _labels(arrays: Path, n_folds: int | None, fold_seed: int, n_done: int | None) -> Ints:
    """Return the labels (n,) of the images that a trial was judged on, in the order of its scores."""
    if n_folds is None:
        return np.array(preprocess.open_role(arrays, "validation").y, np.int64)
    y, groups = folds.labels(arrays)
    judged = folds.assign(y, groups, n_folds, fold_seed) < (n_folds if n_done is None else n_done)
    return np.array(y[judged], np.int64)


def _value(metric: Metric, y: Ints, result: TrialResult) -> float:
    scores = np.asarray(result.scores, np.float64)
    if len(scores) != len(y):
        raise ValueError(f"{len(scores)} scores for {len(y)} images")
    value = float(metric(y, scores, result.metrics.threshold))
    if not math.isfinite(value):
        raise ValueError(f"must return a finite number, got {value}")
    return value
