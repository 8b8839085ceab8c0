"""Pretrained layers: trained after the head, by smaller steps, and exactly continued in either phase."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.models import efficientnet_lite, model
from pneumo_core.specs import BackboneSpec, DenseSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import checkpoint, fine_tuning, train
from pneumo_core.training.batches import Chunk
from pneumo_core.training.steps import make_optimizer, make_steps
from pneumo_core.training.task import Task
from pneumo_core.training.trial import run_trial
from tests.pneumo_core import tiny_lite
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_train import as_left_by_kills
from tests.pneumo_core.training.test_trial import go_on, without_seconds

SIDE_PX = 32
VGG = {"name": "VGG16", "weights": "none", "trainable_from": "block5_conv3"}


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lite.shrink(monkeypatch)
    monkeypatch.setattr(efficientnet_lite, "STAGES", efficientnet_lite.STAGES[:1])


def spec(epochs: int, backbone: dict[str, Any], **fields: Any) -> TrialSpec:
    settings = {"epochs": epochs, "batch_size": 8, "patience": 1, "plateau_patience": 1, "learning_rate": 1e-3}
    return TrialSpec(model=BackboneSpec(**backbone), train=TrainSpec(**{**settings, **fields}))


def saved_weights(path: Path, variables: list[keras.Variable]) -> dict[str, np.ndarray]:
    """Return the weights in the checkpoint at `path` under the names of `variables`."""
    found = checkpoint.load(path, "trial")
    assert found is not None
    return {variable.path: found.arrays[f"model.{i:04d}"] for i, variable in enumerate(variables)}


@pytest.mark.parametrize(
    "train_spec",
    [
        TrainSpec(optimizer="sgd", momentum=0.9, weight_decay=0.1),
        TrainSpec(optimizer="adam"),
        TrainSpec(optimizer="adamw", weight_decay=0.1),
    ],
    ids=lambda found: found.optimizer,
)
def test_a_factor_scales_the_whole_step_of_its_variable(train_spec: TrainSpec) -> None:
    data = arrays(n_train=8)
    x, y = data.x_train.reshape(1, 8, -1), data.y_train.reshape(1, 8).astype(np.float32)
    chunk = Chunk(x=x, y=y, sample_weight=np.ones_like(y), first_step=0, n_steps=1)
    steps_taken = []
    for factor in (1.0, 0.25):
        keras.utils.set_random_seed(3)
        network = model.build(DenseSpec(units=(6,)), (12, 12, 1))
        network.get_layer("logit").set_weights([np.ones((6, 1)), np.zeros(1)])
        before = train.numpy_copies(network.trainable_variables)
        steps = make_steps(network, make_optimizer(train_spec), train_spec, [factor, 1.0, 1.0, factor])
        steps.train(chunk, np.array([0.01], np.float32))
        steps.synchronize()
        after = train.numpy_copies(network.trainable_variables)
        steps_taken.append([new - old for old, new in zip(before, after, strict=True)])

    for whole, other, factor in zip(*steps_taken, [0.25, 1.0, 1.0, 0.25], strict=True):
        np.testing.assert_allclose(other, factor * whole, rtol=1e-3, atol=1e-8)
        assert np.abs(whole).max() > 0


def test_rates_fall_stage_by_stage_and_the_head_keeps_its_own() -> None:
    found = BackboneSpec(name="VGG16", weights="none", trainable_from="stage-3", backbone_rate=0.5, layer_decay=0.1)
    network = model.build(found, (SIDE_PX, SIDE_PX, 1))

    factors = fine_tuning.plan(network, found).rate_factors(network)

    named = {v.path: f for v, f in zip(network.trainable_variables, factors, strict=True)}
    assert "block2_conv1/kernel" not in named
    assert named["block3_conv1/kernel"] == pytest.approx(0.005)
    assert named["block4_conv2/bias"] == pytest.approx(0.05)
    assert named["block5_conv3/kernel"] == 0.5
    assert named["logit/kernel"] == 1


@pytest.mark.usefixtures("one_block")
def test_the_head_is_trained_first_and_nothing_else_moves_until_then(tmp_path: Path) -> None:
    backbone = {"weights": "none", "trainable_from": "block0", "head_epochs": 2}
    trial, path, phases = spec(3, backbone, monitor="auc"), tmp_path / "trial.npz", list[dict[str, np.ndarray]]()
    network = model.build(trial.model, (SIDE_PX, SIDE_PX, 1))
    variables = train.changing_variables(network)
    start = dict(zip([variable.path for variable in variables], train.numpy_copies(variables), strict=True))

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch == 2:
            phases.append(saved_weights(path, variables))  # those after epoch 1
        return False

    task = Task(
        spec=trial.train,
        objective=ObjectiveSpec(),
        arrays=arrays(n_train=16, n_validation=8, side_px=SIDE_PX),
        seed=1,
        identity="trial",
        on_epoch=on_epoch,
        checkpoint=path,
        fine_tuning=fine_tuning.plan(network, trial.model),
    )
    end = train.fit(network, task).state
    phases.append(saved_weights(path, variables))
    moved = [{name for name, value in phase.items() if np.any(value != start[name])} for phase in phases]

    assert moved[0] == {"logit/kernel", "logit/bias"}
    assert {"block0_depthwise/kernel", "block0_depthwise_norm/moving_mean", "head/kernel"} < moved[1]
    assert end.n_epochs == 3  # though the patience of 1 epoch ran out while the head was trained
    assert end.history[0]["auc"] >= end.history[1]["auc"]
    assert end.history[2]["learning_rate"] == pytest.approx(1e-3)  # not lowered by a plateau of the head's
    assert network.get_layer("head_norm").trainable


@pytest.mark.usefixtures("one_block")
def test_a_kill_in_either_phase_or_between_them_changes_nothing(tmp_path: Path) -> None:
    backbone = {"trainable_from": "head", "head_epochs": 2, "backbone_rate": 0.1}
    trial = spec(4, backbone, patience=9, optimizer="adamw", weight_decay=0.01)
    data, path = arrays(n_train=16, n_validation=8, side_px=SIDE_PX), tmp_path / "trial.npz"
    unbroken = run_trial(trial, ObjectiveSpec(), data, 5, as_left_by_kills(path), path)

    for n_epochs in (1, 2, 3):
        continued = run_trial(trial, ObjectiveSpec(), data, 5, go_on, tmp_path / f"{n_epochs}.npz")
        assert continued.environment["checkpoint"] == f"continued after {n_epochs} epochs"
        assert without_seconds(continued) == without_seconds(unbroken)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="need a `trainable_from`"):
        BackboneSpec(head_epochs=2)
    with pytest.raises(ValueError, match="must be less than the 2 epochs, got 2"):
        spec(2, {**VGG, "head_epochs": 2})
