"""Stopping, and exact continuation after a kill, whatever the optimizer and schedule."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core import shifts
from pneumo_core.models import model as models
from pneumo_core.result import TrialResult
from pneumo_core.scoring import operating
from pneumo_core.specs import AugmentSpec, CnnSpec, DenseSpec, ModelSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import checkpoint, train
from pneumo_core.training.task import OnEpoch
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on, without_seconds

AUGMENT = AugmentSpec(flip=0.5, rotation_deg=10, shift=0.1, jpeg=0.3)
CNN = CnnSpec(filters=(4,), dropout=0.3, normalization="batch")
SETTINGS: dict[str, tuple[ModelSpec, dict[str, Any]]] = {
    "sgd momentum plateau": (CNN, {"optimizer": "sgd", "momentum": 0.9, "plateau_patience": 1, "learning_rate": 0.1}),
    "adam cosine augmented": (CNN, {"schedule": "cosine", "warmup_epochs": 1.5, "augment": AUGMENT, "average": 0.9}),
    "bfloat16": (CNN, {"precision": "mixed_bfloat16"}),
    "adamw copies steps": (
        DenseSpec(units=(8,), dropout=0.4),
        {"optimizer": "adamw", "weight_decay": 0.01, "augment": AugmentSpec(shift=0.1, fixed_copies=1)}
        | {"steps_per_epoch": 3, "monitor": "auc"},
    ),
}


class Killed(Exception):
    """Stands for a process that ends."""


def trial(model: ModelSpec, **fields: Any) -> TrialSpec:
    return TrialSpec(model=model, train=TrainSpec(**{"epochs": 5, "batch_size": 16, **fields}))


def kill_after(last: int, heard: list[int]) -> OnEpoch:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        heard.append(epoch)
        if epoch == last:
            raise Killed
        return False

    return on_epoch


def as_left_by_kills(path: Path) -> OnEpoch:
    """Keep the checkpoint at `path` as a kill in epoch 1, 2, … would leave it, as `1.npz`, `2.npz`, …."""

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch:
            shutil.copy(path, path.with_name(f"{epoch}.npz"))
        return False

    return on_epoch


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_a_kill_leaves_is_continued_to_the_same_result(setting: str, tmp_path: Path) -> None:
    model, fields = SETTINGS[setting]
    spec, data, path, heard = trial(model, **fields), arrays(), tmp_path / "trial.npz", list[int]()
    unbroken = run_trial(spec, ObjectiveSpec(), data, 5, as_left_by_kills(path), path)

    continued = run_trial(spec, ObjectiveSpec(), data, 5, kill_after(99, heard), tmp_path / "3.npz")

    assert heard == [3, 4]
    assert continued.environment["checkpoint"] == "continued after 3 epochs"
    assert without_seconds(continued) == without_seconds(unbroken)


def test_a_trial_killed_twice_continues_to_the_same_result(tmp_path: Path) -> None:
    spec, data, path, heard = trial(CNN, epochs=4), arrays(), tmp_path / "trial.npz", list[int]()
    unbroken = run_trial(spec, ObjectiveSpec(), data, 5, go_on)

    for last in (1, 3):  # the last epoch is lost with its kill
        with pytest.raises(Killed):
            run_trial(spec, ObjectiveSpec(), data, 5, kill_after(last, heard), path)
    continued = run_trial(spec, ObjectiveSpec(), data, 5, kill_after(99, heard), path)
    again = run_trial(spec, ObjectiveSpec(), data, 5, kill_after(99, heard), path)  # after the last epoch

    assert heard == [0, 1, 1, 2, 3, 3]
    assert continued.environment["checkpoint"] == "continued after 3 epochs"
    assert without_seconds(continued) == without_seconds(again) == without_seconds(unbroken)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrialResult]:
    """A checkpoint, and what its trial came to."""
    path = tmp_path_factory.mktemp("trained") / "trial.npz"
    return path, run_trial(trial(DenseSpec(units=(4,)), epochs=2), ObjectiveSpec(), arrays(), 5, go_on, path)


@pytest.mark.parametrize("change", ["seed", "spec", "data", "damage"])
def test_a_checkpoint_that_does_not_fit_is_noted_and_training_starts_over(
    change: str, trained: tuple[Path, TrialResult], tmp_path: Path
) -> None:
    path = Path(shutil.copy(trained[0], tmp_path))
    seed = 6 if change == "seed" else 5
    spec = trial(DenseSpec(units=(5 if change == "spec" else 4,)), epochs=2)
    data = arrays(seed=9 if change == "data" else 0)
    if change == "damage":
        path.write_bytes(path.read_bytes()[:-100])
    heard: list[int] = []

    result = run_trial(spec, ObjectiveSpec(), data, seed, kill_after(99, heard), path)

    assert heard == [0, 1]
    assert result.environment["checkpoint"].startswith("started over: ")
    if change in ("seed", "damage"):  # whose checkpoints fit the network
        alone = trained[1] if change == "damage" else run_trial(spec, ObjectiveSpec(), data, seed, go_on)
        assert without_seconds(result) == without_seconds(alone)


def test_a_checkpoint_leaves_out_what_never_changes(tmp_path: Path) -> None:
    network = models.build(replace(CNN, filters=(4, 8)), (12, 12, 1))
    network.get_layer("block1_conv1").trainable = False

    names = [variable.path for variable in train.changing_variables(network)]

    assert "block1_conv1/kernel" not in names
    assert {"block2_conv1/kernel", "block1_conv1_norm/moving_mean", "logit/kernel"} <= set(names)
    assert any("seed_generator" in name for name in names)


def test_training_stops_when_the_monitored_metric_no_longer_improves() -> None:
    spec = trial(DenseSpec(units=(4,)), epochs=50, patience=3, monitor="auc", learning_rate=0.01)

    result = run_trial(spec, ObjectiveSpec(), arrays(), 5, go_on)

    assert result.stopped == "early"
    assert result.n_epochs - result.best_epoch == 3
    assert result.metrics.auc == max(epoch["auc"] for epoch in result.history)


def test_the_plateau_schedule_is_seen_in_the_history() -> None:
    fields: dict[str, Any] = {"plateau_patience": 1, "monitor": "auc", "learning_rate": 0.05, "epochs": 8}

    result = run_trial(trial(DenseSpec(units=(4,)), **fields), ObjectiveSpec(), arrays(), 5, go_on)

    rates = [epoch["learning_rate"] for epoch in result.history]
    assert rates[-1] < rates[0] == pytest.approx(0.05)


def test_a_pruned_trial_leaves_its_last_checkpoint_undecided(tmp_path: Path) -> None:
    path = tmp_path / "trial.npz"
    spec = trial(DenseSpec(units=(4,)), epochs=3)
    run_trial(spec, ObjectiveSpec(), arrays(), 5, lambda epoch, metrics: epoch == 1, path)

    result = run_trial(spec, ObjectiveSpec(), arrays(), 5, go_on, path)

    assert result.stopped == "completed"
    assert result.environment["checkpoint"] == "continued after 1 epochs"


def test_removing_a_checkpoint_that_is_not_there_is_fine(tmp_path: Path) -> None:
    checkpoint.remove(tmp_path / "none.npz")


def test_shifts_are_judged_with_the_images_as_they_are_at_one_threshold() -> None:
    data = arrays(n_validation=60)
    objective = ObjectiveSpec(shifts=("dark", "blurred"))
    seen = replace(data, x_shifted=shifts.apply_assigned(objective.shifts, data.x_validation))
    result = run_trial(trial(DenseSpec(units=(4,)), epochs=2), objective, seen, 1, go_on)
    assert len(result.scores) == len(result.shifted_scores) == 60
    pooled = operating.pooled(data.y_validation, np.array(result.scores), np.array(result.shifted_scores))
    assert result.metrics.auc == pytest.approx(operating.judge(*pooled, objective).metrics.auc, abs=1e-4)
    assert set(result.family_aucs) == {"tone", "sharpness"}
