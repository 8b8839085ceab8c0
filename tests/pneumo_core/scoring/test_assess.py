"""An assessment is the metrics and intervals of their own modules, put together."""

import numpy as np
import pytest

from pneumo_core import codec
from pneumo_core.scoring import exact, intervals, metrics
from pneumo_core.scoring.assess import Assessment, assess

Y = np.repeat([0, 1], [40, 60])
SCORES = np.clip(0.3 + 0.4 * Y + np.random.default_rng(0).normal(0, 0.2, 100), 0, 1)
SCORES[[0, 80, 81]] = 0.4, 0.4, 0.9  # at the threshold: a negative image, and the lowest of a positive patient
PATIENTS = np.arange(100) // 2
KINDS = np.where(Y == 0, "normal", np.where(np.arange(100) % 3 == 0, "virus", "bacteria"))


@pytest.fixture(scope="module")
def found() -> Assessment:
    return assess(Y, SCORES, PATIENTS, KINDS, threshold=0.4, ceiling=0.05, n_resamples=100)


def test_figures_and_counts_agree(found: Assessment) -> None:
    counts = found.confusion
    assert (found.recall, found.specificity, found.ppv, found.npv) == (
        counts.recall,
        counts.specificity,
        counts.ppv,
        counts.npv,
    )
    assert found.fnr == pytest.approx(1 - counts.recall)
    assert found.fnr_upper == exact.upper_bound(counts.false_negative, 60)
    alone = intervals.wilson(counts.true_positive, 60)  # as if no patient had two images
    assert found.recall_ci[0] < alone.low < alone.high < found.recall_ci[1]
    assert {name: kind.n for name, kind in found.recall_by_kind.items()} == {"bacteria": 40, "virus": 20}
    assert found.n_positive == 60
    assert sum(kind.n * kind.recall for kind in found.recall_by_kind.values()) == pytest.approx(counts.true_positive)


def test_every_interval_holds_its_figure(found: Assessment) -> None:
    for name in ("auc", "pauc", "brier", "recall", "specificity", "ppv", "npv", "accuracy"):
        low, high = getattr(found, f"{name}_ci")
        assert low <= getattr(found, name) <= high
        assert set(found.exact) == {"recall", "specificity", "ppv", "npv", "accuracy"}


def test_a_patient_is_missed_with_any_of_their_images(found: Assessment) -> None:
    n_missed = len({patient for patient, y, score in zip(PATIENTS, Y, SCORES, strict=True) if y and score < 0.4})
    assert found.by_patient.n == found.n_positive_patients == 30
    assert found.by_patient.n_missed == n_missed > 0
    assert found.by_patient.fnr == n_missed / 30
    assert found.by_patient.fnr_ci == (
        exact.clopper_pearson(n_missed, 30).low,
        exact.clopper_pearson(n_missed, 30).high,
    )


def test_what_has_no_denominator_is_none_and_one_kind_is_no_comparison() -> None:
    y, scores = np.repeat([0, 1], 20), np.linspace(0.1, 0.9, 40)
    nobody = assess(y, scores, np.arange(40), y.astype(str), threshold=2.0, ceiling=0.05, n_resamples=20)
    assert (nobody.ppv, nobody.ppv_ci, nobody.recall, nobody.specificity) == (None, None, 0.0, 1.0)
    assert nobody.recall_by_kind == {}
    assert codec.from_json(Assessment, codec.to_json(nobody)) == nobody


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        assess([1, 1], [0.2, 0.3], ["a", "b"], ["x", "x"], threshold=0.5, ceiling=0.05)


def test_the_auc_is_that_of_the_metrics(found: Assessment) -> None:
    assert 0.5 < found.auc < 1
    assert metrics.auc([0, 1], [0.1, 0.2]) == 1
