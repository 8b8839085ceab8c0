"""A trial over folds: judged on pooled scores of images that taught it nothing, and continued after a kill."""

import shutil
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Seen:
    """What a run came to, the images that each of its trainings was given, and what it reported."""

    result: TrialResult
    one_fold: Path  # its checkpoint once the first fold was done
    given: list[FitArrays]
    reported: list[tuple[int, dict[str, float]]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One run, whose reports are answered with "stop" wherever that must change nothing."""
    given, reported = list[FitArrays](), list[tuple[int, dict[str, float]]]()
    folder = tmp_path_factory.mktemp("folds")
    checkpoint, one_fold = folder / "7", folder / "one"

    def listen(step: int, metrics: dict[str, float]) -> bool:
        reported.append((step, metrics))
        if len(reported) == EPOCHS + 2:
            shutil.copy(checkpoint, one_fold)
        return FOLD in metrics or step == N_FOLDS - 1

    def training(spec: TrialSpec, objective: ObjectiveSpec, images: FitArrays, *rest: Any) -> Trained:
        given.append(images)
        return build_and_train(spec, objective, images, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_validate, "build_and_train", training)
        result = cross_validate.run(trial(on_epoch=listen, checkpoint=checkpoint))
        return Seen(result, one_fold, given, reported)


@pytest.fixture(scope="module")
def unbroken(seen: Seen) -> TrialResult:
    return seen.result


def test_finished_folds_leave_one_checkpoint(seen: Seen) -> None:
    assert {file.name for file in seen.one_fold.parent.iterdir()} == {"7", "one"}


def test_every_image_is_scored_once_by_a_model_that_saw_no_image_of_its_patient(seen: Seen) -> None:
    pool = pooled()
    x_of = {pool.take(np.array([row])).tobytes(): row for row in range(len(pool.y))}
    assert len(x_of) == len(pool.y) == len(seen.result.scores)
    held_out = []
    for images in seen.given:
        learnt, stopped_by = ([x_of[x[None].tobytes()] for x in of] for of in (images.x_train, images.x_validation))
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


def test_a_fold_reports_what_its_own_held_out_images_say(seen: Seen) -> None:
    y, groups = pooled().y, pooled().groups
    fold_of_image = folds.assign(y, groups, N_FOLDS, 3)
    scores = np.array(seen.result.scores)
    of_folds = [(step, metrics["pruning_metric"]) for step, metrics in seen.reported if FOLD not in metrics]
    for index, (step, reported) in enumerate(of_folds):
        mine = fold_of_image == index
        assert step == index
        assert reported == pytest.approx(operating.pruning_metric(y[mine], scores[mine], ObjectiveSpec()), abs=1e-5)
    assert len(of_folds) == N_FOLDS


def stop_after_two(step: int, metrics: dict[str, float]) -> bool:
    return FOLD not in metrics and step == 1


def test_a_pruned_trial_is_judged_on_the_folds_it_finished(unbroken: TrialResult) -> None:
    result = cross_validate.run(trial(on_epoch=stop_after_two))

    done = folds.assign(pooled().y, pooled().groups, N_FOLDS, 3) < 2
    assert (result.stopped, result.n_folds, len(result.history)) == ("pruned", 2, 2)
    assert result.scores == tuple(np.array(unbroken.scores)[done])
    judged = operating.judge(pooled().y[done], result.scores, ObjectiveSpec())
    assert result.constraint == judged.constraint


def test_neither_an_epoch_within_a_fold_nor_the_last_fold_ends_a_trial(unbroken: TrialResult) -> None:
    assert (unbroken.stopped, unbroken.n_folds) == ("completed", N_FOLDS)


class KilledError(Exception):
    """Stands for a kill."""


def test_a_killed_trial_goes_on_and_comes_to_the_same(tmp_path: Path, seen: Seen) -> None:
    """Killed in the second fold before an epoch is saved, before the fold is, and before the last one is."""
    heard: list[tuple[float, int]] = []
    checkpoint = Path(shutil.copy(seen.one_fold, tmp_path / "7"))

    def killed(step: int, metrics: dict[str, float]) -> bool:
        heard.append((metrics.get(FOLD, -1.0), step))
        if len(heard) in (2, 4, 8):
            raise KilledError
        return False

    for _ in range(3):
        with pytest.raises(KilledError):
            cross_validate.run(trial(on_epoch=killed, checkpoint=checkpoint))
    resumed = cross_validate.run(trial(on_epoch=killed, checkpoint=checkpoint))

    assert without_seconds(resumed) == without_seconds(seen.result)
    reports = [(metrics.get(FOLD, -1.0), step) for step, metrics in seen.reported]
    # The report that was killed comes again, and nothing before it.
    assert heard == [*reports[3:5], *reports[4:6], *reports[5:9], *reports[8:]]


def stop_after_one(step: int, metrics: dict[str, float]) -> bool:
    return FOLD not in metrics


def test_the_seed_decides_and_another_trials_checkpoint_is_not_taken(seen: Seen, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copy(seen.one_fold, tmp_path / "7"))
    other = cross_validate.run(trial(seed=2, checkpoint=checkpoint, on_epoch=stop_after_one))

    done = folds.assign(pooled().y, pooled().groups, N_FOLDS, 3) < 1
    assert len(other.scores) == done.sum()
    assert other.scores != tuple(np.array(seen.result.scores)[done])
    assert "started over" in other.environment["checkpoint"]


def test_too_few_patients_for_the_folds_say_so() -> None:
    few = replace(pooled(), groups=np.array(["a" if label else "b" for label in pooled().y]))
    with pytest.raises(DataError, match="too few for 3 folds"):
        cross_validate.run(trial(pooled=few))
