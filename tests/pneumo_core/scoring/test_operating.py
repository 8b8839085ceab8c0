"""The operating point is the best there is, and a model that calls everyone the same loses under every objective."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core import codec, shifts
from pneumo_core.scoring import metrics
from pneumo_core.scoring.operating import (
    Judgement,
    Metrics,
    family_aucs,
    judge,
    pooled,
    pruning_metric,
    value_se,
)
from pneumo_core.specs import ObjectiveKind, ObjectiveSpec

KINDS = get_args(ObjectiveKind)
objectives = st.builds(
    ObjectiveSpec,
    kind=st.sampled_from(KINDS),
    fnr_ceiling=st.sampled_from([0.0001, 0.03, 0.1, 0.3, 0.9999]),
    specificity_floor=st.sampled_from([0.0, 0.5, 0.9, 0.9999]),
)


@st.composite
def labelled_scores(draw: st.DrawFn, max_size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Both classes, scores of whole 16ths in [0, 1]: many ties."""
    n = draw(st.integers(2, max_size))
    y = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])
    return y, np.array(draw(st.lists(st.integers(0, 16), min_size=n, max_size=n))) / 16


def modest_classifier(n: int = 400, shift: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A real but modest model: AUC 0.84, FNR 0.51 at specificity 0.9 for the default arguments."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    return y, 1 / (1 + np.exp(-rng.normal(size=n) - shift * y))


def rates_by_brute_force(y: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """(recall, specificity) at every threshold that makes a difference, found without sorting anything."""
    thresholds = [-np.inf, *np.unique(scores), np.inf]
    return [(np.mean(scores[y == 1] >= t), np.mean(scores[y == 0] < t)) for t in thresholds]


def best_by_brute_force(y: np.ndarray, scores: np.ndarray, objective: ObjectiveSpec) -> tuple[float, float]:
    """(recall, specificity) of the threshold that the objective asks for."""
    floor = 0.0 if objective.kind == "specificity" else objective.specificity_floor
    admitted = [(r, s) for r, s in rates_by_brute_force(y, scores) if s > 0 and s >= floor]
    under = [(r, s) for r, s in admitted if round(1 - r, 12) <= objective.fnr_ceiling]
    if objective.kind == "specificity" and under:
        return max(under, key=lambda rates: (rates[1], rates[0]))
    if objective.kind == "recall_and_specificity" and under:
        return max(under, key=lambda rates: (round(rates[0] + rates[1], 12), rates[0]))
    return max(admitted)


@given(labelled_scores(), objectives)
def test_judge_finds_the_best_threshold_of_all(data: tuple[np.ndarray, np.ndarray], objective: ObjectiveSpec) -> None:
    found = judge(*data, objective).metrics
    assert (found.recall, found.specificity) == pytest.approx(best_by_brute_force(*data, objective), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ceiling", "floor"), [(0.1, 0.0), (0.3, 0.3), (0.3, 0.6), (0.25, 0.0)])
def test_it_does_for_models_that_know_something_too(kind: ObjectiveKind, ceiling: float, floor: float) -> None:
    """Where the rules differ: among random scores no cut but the first meets a ceiling."""
    objective = ObjectiveSpec(kind=kind, fnr_ceiling=ceiling, specificity_floor=floor)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = np.array([0, 1, *rng.integers(0, 2, 28)])
        scores = np.clip(np.round(8 + 4 * (2 * y - 1) + rng.normal(0, 4, 30)), 0, 16) / 16
        found = judge(y, scores, objective).metrics
        assert (found.recall, found.specificity) == pytest.approx(best_by_brute_force(y, scores, objective), abs=1e-12)


@given(labelled_scores(), objectives)
def test_the_metrics_are_those_of_the_threshold(data: tuple[np.ndarray, np.ndarray], objective: ObjectiveSpec) -> None:
    y, scores = data
    judgement = judge(y, scores, objective)
    counts = metrics.confusion(y, scores, judgement.metrics.threshold)
    found = judgement.metrics
    assert (found.recall, found.specificity, found.fnr) == (counts.recall, counts.specificity, counts.fnr)
    assert judgement.constraint == found.fnr - objective.fnr_ceiling
    assert all(type(value) is float for value in vars(found).values())


@given(labelled_scores(), objectives)
def test_rising_transforms_of_the_scores_change_nothing_but_the_threshold(
    data: tuple[np.ndarray, np.ndarray], objective: ObjectiveSpec
) -> None:
    y, scores = data
    before, after = judge(y, scores, objective), judge(y, np.exp(3 * scores) - 20, objective)
    assert (after.values, after.constraint) == (before.values, before.constraint)
    assert pruning_metric(y, np.exp(3 * scores) - 20, objective) == pruning_metric(y, scores, objective)


@given(labelled_scores(), labelled_scores(), st.data())
def test_the_shade_never_changes_the_order_of_two_rates(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["recall", "specificity"]))
    objective = ObjectiveSpec(kind=kind, specificity_floor=0.5, fnr_ceiling=0.3)
    y = first[0]
    other = np.resize(second[1], len(y))
    one, two = judge(y, first[1], objective), judge(y, other, objective)
    rates = [_reached(judgement, objective) for judgement in (one, two)]
    if rates[0] > rates[1]:
        assert one.values[0] > two.values[0]
    if rates[0] == rates[1]:
        assert (one.values[0] > two.values[0]) == (one.metrics.pauc > two.metrics.pauc)


def _reached(judgement: Judgement, objective: ObjectiveSpec) -> float:
    if objective.kind == "recall":
        return judgement.metrics.recall
    return judgement.metrics.specificity if judgement.feasible else 0.0


def test_the_shade_stays_out_of_the_recall() -> None:
    y, scores = modest_classifier()
    judgement = judge(y, scores, ObjectiveSpec())
    assert judgement.metrics.recall * 200 == round(judgement.metrics.recall * 200)
    assert 0 < judgement.values[0] - judgement.metrics.recall < 1 / 200


def test_of_two_equal_recalls_the_better_partial_auc_wins() -> None:
    y = np.array([0] * 10 + [1] * 4)
    good = np.array([0.1] * 9 + [0.8] + [0.5, 0.6, 0.7, 0.9])
    better = np.array([0.1] * 9 + [0.55] + [0.5, 0.6, 0.7, 0.9])
    objective = ObjectiveSpec(fnr_ceiling=0.5)
    one, two = judge(y, good, objective), judge(y, better, objective)
    assert one.metrics.recall == two.metrics.recall == 1.0
    assert two.values > one.values


@pytest.mark.parametrize("floor", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_score_loses_to_a_modest_classifier(kind: ObjectiveKind, constant: float, floor: float) -> None:
    objective = ObjectiveSpec(kind=kind, fnr_ceiling=0.55, specificity_floor=floor)
    y, scores = modest_classifier()
    modest, always = judge(y, scores, objective), judge(y, np.full(len(y), constant), objective)
    assert always.constraint == pytest.approx(1 - 0.55)  # no one is called positive: the most that can be violated
    assert not always.feasible
    assert modest.feasible
    if len(always.values) == 1:
        assert always.values < modest.values
        assert always.values[0] <= 0.5
    if kind == "specificity":
        assert always.values[0] < 1 / 200  # over the ceiling nothing counts but the shade
    assert pruning_metric(y, np.full(len(y), constant), objective) == pytest.approx(0.5, abs=1e-12)
    assert pruning_metric(y, scores, objective) > 0.6


@given(labelled_scores(), objectives)
def test_no_model_is_worse_than_a_constant_by_the_constraint(
    data: tuple[np.ndarray, np.ndarray], objective: ObjectiveSpec
) -> None:
    y, scores = data
    always = judge(y, np.ones(len(y)), objective)
    assert always.constraint > 0
    assert judge(y, scores, objective).constraint <= always.constraint


@pytest.mark.parametrize("kind", KINDS)
def test_almost_always_positive_loses_too(kind: ObjectiveKind) -> None:
    """Scores that saturate at 1 but for float noise: the noise ranks no one, so the ceiling is out of reach."""
    objective = ObjectiveSpec(kind=kind)
    y = np.repeat([0, 1], 500)
    scores = 1 - 1e-7 * np.random.default_rng(1).uniform(size=1000)
    judgement = judge(y, scores, objective)
    if kind == "specificity":
        assert judgement.values[0] < 0.1
    else:
        assert not judgement.feasible


def test_three_misses_in_a_hundred_meet_a_ceiling_of_three_per_cent() -> None:
    y = np.repeat([0, 1], 100)
    scores = np.concatenate([np.full(100, 0.3), np.full(3, 0.1), np.full(97, 0.9)])
    judgement = judge(y, scores, ObjectiveSpec(fnr_ceiling=0.03))
    assert judgement.constraint == 0.0
    assert judgement.feasible


def test_a_perfect_model_reaches_the_top_of_every_objective() -> None:
    y = np.repeat([0, 1], 20)
    for kind in KINDS:
        judgement = judge(y, y * 0.8 + 0.1, ObjectiveSpec(kind=kind))
        assert judgement.feasible
        assert min(judgement.values) >= 1
        assert judgement.metrics.threshold == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pruning_metric_prefers_the_better_model(kind: ObjectiveKind) -> None:
    objective = ObjectiveSpec(kind=kind)
    found = [pruning_metric(*modest_classifier(shift=shift), objective) for shift in (0.0, 1.0, 2.0, 4.0)]
    assert found == sorted(found)


def test_scores_under_shifts_are_judged_with_the_others_and_family_by_family() -> None:
    y, scores = modest_classifier(n=60)
    alone, with_none = pooled(y, scores, None)
    assert alone is y
    assert with_none is scores
    labels, both = pooled(y, scores, scores / 2)
    assert labels.tolist() == [*y, *y]
    assert both.tolist() == [*scores, *scores / 2]

    names = (*shifts.FAMILIES["tone"], next(iter(shifts.FAMILIES["sharpness"])))
    given = np.array(names)[shifts.assigned(names, len(y))]
    of_one_class = np.where(given == names[-1], 1, y)  # all images that are made blurred or sharp are ill
    is_tone = given != names[-1]
    assert family_aucs(y, scores, names)["tone"] == metrics.auc(y[is_tone], scores[is_tone])
    assert set(family_aucs(y, scores, names)) == {"tone", "sharpness"}
    assert set(family_aucs(of_one_class, scores, names)) == {"tone"}


def test_a_judgement_survives_json() -> None:
    judgement = judge(*modest_classifier(), ObjectiveSpec(kind="recall_and_specificity"))
    assert codec.from_json(Judgement, codec.to_json(judgement)) == judgement
    assert codec.from_json(Metrics, codec.to_json(judgement.metrics)) == judgement.metrics


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_judged_is_refused(kind: ObjectiveKind) -> None:
    objective = ObjectiveSpec(kind=kind)
    for function in (judge, pruning_metric):
        with pytest.raises(ValueError, match="1 NaN or infinite"):
            function([0, 1], [0.5, np.nan], objective)
        with pytest.raises(ValueError, match="2 positives and 0 negatives"):
            function([1, 1], [0.5, 0.6], objective)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_a_value_falls_with_the_number_of_patients_not_of_their_images(kind: ObjectiveKind) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    scores = np.clip(rng.normal(0.35 + 0.3 * y, 0.2), 0, 1)
    patients = np.arange(len(y))
    objective = ObjectiveSpec(kind=kind, fnr_ceiling=0.1, specificity_floor=0.2)

    few = value_se(y, scores, patients, objective)
    doubled = value_se(np.tile(y, 2), np.tile(scores, 2), np.tile(patients, 2), objective)
    many = value_se(np.tile(y, 9), np.tile(scores, 9), np.arange(9 * len(y)), objective)

    assert doubled == pytest.approx(few, rel=0.05)
    assert 0 < many < 0.7 * few
