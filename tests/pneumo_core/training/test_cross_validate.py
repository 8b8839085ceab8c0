"""A trial over folds: judged on pooled scores of images that taught it nothing, and continued after a kill."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.data import folds
from pneumo_core.data.folds import Pooled
from pneumo_core.data.preprocess import FitArrays
from pneumo_core.errors import DataError
from pneumo_core.result import TrialResult
from pneumo_core.scoring import operating
from pneumo_core.specs import DenseSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import cross_validate
from pneumo_core.training.cross_validate import FoldsTrial
from pneumo_core.training.trial import Trained, build_and_train
from pneumo_core.wire import FOLD
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on, without_seconds

N_FOLDS, EPOCHS = 3, 2
SPEC = TrialSpec(model=DenseSpec(units=(8,), dropout=0.2), train=TrainSpec(epochs=EPOCHS, learning_rate=0.01))


def pooled() -> Pooled:
    """Two roles of 70 and 30 images, two or so of each patient."""
    images = arrays()
    y = np.concatenate([images.y_train, images.y_validation])
    patient = [f"{'ill' if label else 'well'}-{i // 6}" for i, label in enumerate(y)]
    return Pooled(x=(images.x_train, images.x_validation), y=y, groups=np.array(patient))


def trial(**more: Any) -> FoldsTrial:
    facts = {"spec": SPEC, "objective": ObjectiveSpec(), "pooled": pooled(), "n_folds": N_FOLDS, "fold_seed": 3}
    return FoldsTrial(**{**facts, "seed": 1, "on_epoch": go_on, **more})


@pytest.fixture(scope="module")
def unbroken() -> TrialResult:
    return cross_validate.run(trial())


def test_every_image_is_scored_once_by_a_model_that_saw_no_image_of_its_patient(
    monkeypatch: pytest.MonkeyPatch, unbroken: TrialResult
) -> None:
    given, pool = [], pooled()
    x_of = {pool.take(np.array([row])).tobytes(): row for row in range(len(pool.y))}
    assert len(x_of) == len(pool.y)

    def listening(spec: TrialSpec, objective: ObjectiveSpec, seen: FitArrays, *rest: Any) -> Trained:
        given.append([[x_of[image[None].tobytes()] for image in x] for x in (seen.x_train, seen.x_validation)])
        return build_and_train(spec, objective, seen, *rest)

    monkeypatch.setattr(cross_validate, "build_and_train", listening)
    result = cross_validate.run(trial())

    assert without_seconds(result)["scores"] == without_seconds(unbroken)["scores"]
    assert len(result.scores) == len(pool.y)
    held_out = []
    for learnt, stopped_by in given:
        unseen = sorted(set(range(len(pool.y))) - set(learnt) - set(stopped_by))
        patients = [set(pool.groups[rows]) for rows in (learnt, stopped_by, unseen)]
        assert len(set.union(*patients)) == sum(map(len, patients))
        held_out += unseen
    assert sorted(held_out) == list(range(len(pool.y)))


def test_the_judgement_is_that_of_all_held_out_scores_together(unbroken: TrialResult) -> None:
    judged = operating.judge(pooled().y, unbroken.scores, ObjectiveSpec())

    assert unbroken.values == pytest.approx(judged.values, abs=1e-5)
    assert (unbroken.metrics.recall, unbroken.metrics.specificity) == (
        judged.metrics.recall,
        judged.metrics.specificity,
    )
    assert (unbroken.constraint, unbroken.stopped) == (judged.constraint, "completed")
    assert (unbroken.n_folds, unbroken.n_epochs, len(unbroken.history)) == (N_FOLDS, N_FOLDS * EPOCHS, N_FOLDS)


def test_a_fold_reports_what_its_own_held_out_images_say(unbroken: TrialResult) -> None:
    heard = []

    def listen(step: int, metrics: dict[str, float]) -> bool:
        if FOLD not in metrics:
            heard.append((step, metrics["pruning_metric"]))
        return FOLD in metrics  # the answer to an epoch within a fold counts for nothing

    cross_validate.run(trial(on_epoch=listen))

    y, groups = pooled().y, pooled().groups
    fold_of_image = folds.assign(y, groups, N_FOLDS, 3)
    scores = np.array(unbroken.scores)
    for index, (step, reported) in enumerate(heard):
        mine = fold_of_image == index
        assert step == index
        assert reported == pytest.approx(operating.pruning_metric(y[mine], scores[mine], ObjectiveSpec()), abs=1e-5)
    assert len(heard) == N_FOLDS


def test_a_pruned_trial_is_judged_on_the_folds_it_finished(unbroken: TrialResult) -> None:
    result = cross_validate.run(trial(on_epoch=lambda step, metrics: FOLD not in metrics and step == 1))

    done = folds.assign(pooled().y, pooled().groups, N_FOLDS, 3) < 2
    assert (result.stopped, result.n_folds, len(result.history)) == ("pruned", 2, 2)
    assert result.scores == tuple(np.array(unbroken.scores)[done])
    judged = operating.judge(pooled().y[done], result.scores, ObjectiveSpec())
    assert result.constraint == judged.constraint


def test_nothing_is_pruned_after_the_last_fold() -> None:
    result = cross_validate.run(trial(on_epoch=lambda step, metrics: FOLD not in metrics and step == N_FOLDS - 1))
    assert (result.stopped, result.n_folds) == ("completed", N_FOLDS)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("moment", [4, 5, 8])
def test_a_killed_trial_goes_on_and_comes_to_the_same(moment: int, tmp_path: Path, unbroken: TrialResult) -> None:
    """Killed before an epoch is saved, before a fold is, and before the last one is."""
    heard: list[tuple[float, int]] = []

    def killed(step: int, metrics: dict[str, float]) -> bool:
        heard.append((metrics.get(FOLD, -1.0), step))
        if len(heard) == moment + 1:
            raise KilledError
        return False

    checkpoint = tmp_path / "7"
    with pytest.raises(KilledError):
        cross_validate.run(trial(on_epoch=killed, checkpoint=checkpoint))
    before = len(heard)
    resumed = cross_validate.run(trial(on_epoch=killed, checkpoint=checkpoint))

    assert without_seconds(resumed) == without_seconds(unbroken)
    assert heard[before] == heard[before - 1]  # the report that was killed comes again, and nothing before it
    assert len(heard) == N_FOLDS * (EPOCHS + 1) + 1


def test_the_seed_decides_and_another_trials_checkpoint_is_not_taken(tmp_path: Path, unbroken: TrialResult) -> None:
    checkpoint = tmp_path / "7"
    other = cross_validate.run(trial(seed=2, checkpoint=checkpoint))
    again = cross_validate.run(trial(checkpoint=checkpoint))

    assert other.scores != unbroken.scores
    assert again.scores == unbroken.scores
    assert "started over" in again.environment["checkpoint"]


def test_too_few_patients_for_the_folds_say_so() -> None:
    few = replace(pooled(), groups=np.array(["a" if label else "b" for label in pooled().y]))
    with pytest.raises(DataError, match="too few for 3 folds"):
        cross_validate.run(trial(pooled=few))
