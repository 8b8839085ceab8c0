"""One trial, whole."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from pneumo_core import codec
from pneumo_core.errors import TrialFailed
from pneumo_core.models import model
from pneumo_core.result import TrialResult
from pneumo_core.scoring import operating
from pneumo_core.specs import AugmentSpec, CnnSpec, DenseSpec, ModelSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays

MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(8,), dropout=0.2, normalization="batch"),
    "cnn": CnnSpec(filters=(4, 8), dropout=0.2),
}
SMALL = CnnSpec(filters=(4,), dropout=0.2)
AUGMENT = AugmentSpec(flip=0.5, rotation_deg=10, contrast=0.2, jpeg=0.5)


def trial(model: ModelSpec = SMALL, **train: Any) -> TrialSpec:
    return TrialSpec(model=model, train=TrainSpec(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.01, **train}))


def go_on(epoch: int, metrics: dict[str, float]) -> bool:
    return False


def without_seconds(result: TrialResult) -> dict[str, Any]:
    data = codec.to_json(result)
    del data["seconds"], data["environment"]
    data["history"] = [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in data["history"]]
    return data


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_trial_learns_and_its_result_travels_as_json(model: ModelSpec) -> None:
    result = run_trial(trial(model, epochs=12), ObjectiveSpec(), arrays(), 1, go_on)

    assert result.metrics.auc > 0.9
    assert result.stopped == "completed"
    assert len(result.history) == result.n_epochs == 12
    assert len(result.scores) == 30
    kept = codec.from_json(TrialResult, json.loads(json.dumps(codec.to_json(result))))
    assert kept == result
    assert operating.judge(arrays().y_validation, kept.scores, ObjectiveSpec()).metrics == result.metrics
    assert sum(layer.n_parameters for layer in result.layers) == result.n_parameters
    assert [layer.shape for layer in result.layers if layer.kind == "Dense"][-1] == (1,)


def test_the_same_seed_gives_the_same_trial_and_another_seed_another() -> None:
    first, again, other = (
        without_seconds(run_trial(trial(augment=AUGMENT), ObjectiveSpec(), arrays(), seed, go_on)) for seed in (1, 1, 2)
    )

    assert first == again
    assert first["scores"] != other["scores"]


def test_the_best_epoch_decides_not_the_last() -> None:
    data = arrays()
    misleading = replace(data, y_validation=1 - data.y_validation)  # the more is learnt, the worse it scores

    result = run_trial(trial(epochs=6), ObjectiveSpec(), misleading, 1, go_on)

    best = result.history[result.best_epoch - 1]
    assert best["val_loss"] == min(epoch["val_loss"] for epoch in result.history)
    assert result.best_epoch != len(result.history)  # else this test says nothing
    assert {name: best[name] for name in asdict(result.metrics)} == asdict(result.metrics)


def test_a_trial_that_reached_its_last_epoch_is_complete_whatever_the_pruner_says() -> None:
    result = run_trial(
        trial(DenseSpec(units=(4,)), epochs=2), ObjectiveSpec(), arrays(), 1, lambda epoch, _: epoch == 1
    )

    assert (result.stopped, result.n_epochs) == ("completed", 2)


def test_a_pruned_trial_has_a_full_result() -> None:
    heard = []

    def stop_after_two(epoch: int, metrics: dict[str, float]) -> bool:
        heard.append((epoch, metrics))
        return epoch == 1

    result = run_trial(trial(), ObjectiveSpec(), arrays(), 1, stop_after_two)

    assert result.stopped == "pruned"
    assert [epoch for epoch, _ in heard] == [0, 1]
    assert tuple(metrics for _, metrics in heard) == result.history
    assert len(result.scores) == 30


def test_a_loss_that_is_no_number_fails_the_trial() -> None:
    rising = {"optimizer": "sgd", "learning_rate": 10.0, "momentum": 0.99, "epochs": 200, "patience": 200}

    with pytest.raises(TrialFailed, match="learning_rate") as caught:
        run_trial(trial(CnnSpec(filters=(4,), l2=1.0), **rising), ObjectiveSpec(), arrays(), 1, go_on)

    assert caught.value.reason == "nan_loss"


def test_running_out_of_memory_fails_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(model, "build", full)

    with pytest.raises(TrialFailed, match="no room") as caught:
        run_trial(trial(), ObjectiveSpec(), arrays(), 1, go_on)

    assert caught.value.reason == "out_of_memory"
