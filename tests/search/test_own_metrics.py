"""A study's own metrics: what is stored beside a trial's other figures, and what a bad one costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.data import folds, preprocess
from pneumo_core.errors import StudyError
from pneumo_core.result import TrialResult
from search import own_metrics, trials
from search.report import gather, sections_search
from studies import load
from studies.spec import StudySpec
from tests.search.report import made


def cost(y: Any, scores: Any, threshold: float) -> float:
    calls = scores >= threshold
    return float(10 * np.sum(calls < y) + np.sum(calls > y)) / len(y)


def broken(y: Any, scores: Any, threshold: float) -> float:
    raise ZeroDivisionError("no positives here")


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> made.Made:
    return made.make(tmp_path_factory.mktemp("own"), phantoms)


def result_of(studied: made.Made) -> TrialResult:
    return studied.result(3.0, seed=1, stopped="completed", n_epochs=2)


def test_a_metric_sees_labels_scores_and_threshold_in_order(studied: made.Made) -> None:
    result, arrays = result_of(studied), studied.prepared.arrays_for(made.DATA)
    found = own_metrics.measure({"cost": cost}, arrays, None, 0, result)
    n, n_positive = len(result.scores), int(preprocess.open_role(arrays, "validation").y.sum())
    missed = round((1 - result.metrics.recall) * n_positive)
    alarms = round((1 - result.metrics.specificity) * (n - n_positive))
    assert found == {"metric_cost": pytest.approx((10 * missed + alarms) / n)}


def test_over_folds_it_sees_all_images_that_were_scored(studied: made.Made, tmp_path: Path, phantoms: Path) -> None:
    over = made.make(tmp_path, phantoms, n_folds=3)
    arrays, result = over.prepared.arrays_for(made.DATA), result_of(over)
    found = own_metrics.measure({"n": lambda y, scores, threshold: y.sum()}, arrays, 3, 0, result)
    assert found == {"metric_n": float(folds.labels(arrays)[0].sum())}


def test_a_trial_pruned_over_folds_is_measured_on_those_that_it_finished(tmp_path: Path, phantoms: Path) -> None:
    over = made.make(tmp_path, phantoms, n_folds=3)
    arrays = over.prepared.arrays_for(made.DATA)
    y, groups = folds.labels(arrays)
    judged = folds.assign(y, groups, 3, 5) < 1
    scores = tuple(np.where(y[judged] == 1, 0.9, 0.1).tolist())
    pruned = replace(result_of(over), scores=scores, stopped="pruned", n_folds=1)
    wanted = {"auc": lambda y, scores, threshold: float(scores[y == 1].min() > scores[y == 0].max())}
    assert own_metrics.measure(wanted, arrays, 3, 5, pruned) == {"metric_auc": 1.0}


def test_a_metric_that_fails_says_why_and_the_others_stand(studied: made.Made) -> None:
    wanted = {"broken": broken, "nan": lambda y, scores, threshold: float("nan"), "cost": cost}
    found = own_metrics.measure(wanted, studied.prepared.arrays_for(made.DATA), None, 0, result_of(studied))
    assert found.keys() == {"metric_cost", "failed_metrics"}
    assert found["failed_metrics"] == {
        "broken": "ZeroDivisionError: no positives here",
        "nan": "ValueError: must return a finite number, got nan",
    }


def test_rows_and_tables_show_it(studied: made.Made) -> None:
    trial, _ = studied.ask()
    trials.finish(studied.study, trial, result_of(studied), metric_cost=0.25, metric_wrong="a text")
    row = gather.row_of(studied.study.trials[trial.number])
    assert row.own_metrics == {"cost": 0.25}
    assert ">cost</th>" in sections_search.best_table([row])
    assert ">0.25</td>" in sections_search.all_trials_table([row])


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (broken, "metric `m` fails .* no positives here"),
        (lambda y, s, t: np.inf, "must return a finite number, got inf"),
    ],
)
def test_a_study_whose_metric_fails_on_random_scores_is_refused(metric: Any, why: str) -> None:
    with pytest.raises(StudyError, match=why):
        load.check(StudySpec(name="mine", space=made.space, metrics={"m": metric}))


@pytest.mark.parametrize("metrics", [{"not a name": cost}, {"m": 3}])
def test_metrics_are_functions_under_names(metrics: Any) -> None:
    with pytest.raises(ValueError, match="`metrics` must map names such as"):
        StudySpec(name="mine", space=made.space, metrics=metrics)
