"""Training on images that lie on the device, against training on chunks of them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.specs import AugmentSpec, CnnSpec, DenseSpec, ModelSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import batches, steps
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on

if keras.backend.backend() == "jax":
    import jax

    from pneumo_core.training import steps_jax as own_steps
else:
    from pneumo_core.training import steps_tensorflow as own_steps  # type: ignore[no-redef]

only_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX changes images on the device")

MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(6,), dropout=0.2, normalization="batch"),
    "cnn": CnnSpec(filters=(3,), l2=0.01),
}
CLOSE = AugmentSpec(flip=0.5, shift=0.2, contrast=0.3)  # of which both ways make the same to a grey level


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training do as on an accelerator, here."""
    if keras.backend.backend() == "jax":
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    else:
        monkeypatch.setattr(own_steps, "_is_accelerated", lambda: True)


def trained(spec: ModelSpec, checkpoint: Path | None = None, on_epoch: Any = go_on, **train: Any) -> Any:
    settings = TrainSpec(**{"epochs": 3, "batch_size": 16, "schedule": "cosine", **train})
    trial = TrialSpec(model=spec, train=settings)
    return run_trial(trial, ObjectiveSpec(), arrays(), 7, on_epoch, checkpoint)


@pytest.mark.usefixtures("accelerated")
@pytest.mark.parametrize(("name", "steps_per_epoch"), [("dense", None), ("cnn", 3)])
def test_held_images_give_the_trial_that_chunks_give(
    name: str, steps_per_epoch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = trained(MODELS[name], steps_per_epoch=steps_per_epoch)
    monkeypatch.setattr(own_steps, "HELD_BYTES", 0)
    chunked = trained(MODELS[name], steps_per_epoch=steps_per_epoch)

    np.testing.assert_allclose(held.scores, chunked.scores, atol=2e-6)
    assert [e["loss"] for e in held.history] == pytest.approx([e["loss"] for e in chunked.history], rel=1e-5)


@only_jax
@pytest.mark.usefixtures("accelerated")
def test_images_changed_on_the_device_give_nearly_the_trial_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    held = trained(MODELS["dense"], augment=CLOSE)
    monkeypatch.setattr(own_steps, "HELD_BYTES", 0)
    chunked = trained(MODELS["dense"], augment=CLOSE)

    np.testing.assert_allclose(held.scores, chunked.scores, atol=0.01)
    assert held.environment["augmentation"] == "on the device"
    assert "augmentation" not in chunked.environment


@only_jax
@pytest.mark.usefixtures("accelerated")
def test_a_trial_that_was_killed_sees_the_same_changes_on_the_device(tmp_path: Path) -> None:
    def die_in_the_third(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch == 2:
            raise KeyboardInterrupt
        return False

    changes = AugmentSpec(flip=0.5, noise=0.2, fixed_copies=1)
    spec = DenseSpec(units=(6,), dropout=0.2)
    unbroken = trained(spec, augment=changes)
    with pytest.raises(KeyboardInterrupt):
        trained(spec, tmp_path / "checkpoint", die_in_the_third, augment=changes)
    continued = trained(spec, tmp_path / "checkpoint", augment=changes)

    assert continued.environment["checkpoint"] == "continued after 2 epochs"
    np.testing.assert_array_equal(continued.scores, unbroken.scores)


@pytest.mark.parametrize(
    ("changes", "room", "holds"),
    [({}, 2**29, True), ({}, 10, False), ({"augment": AugmentSpec(flip=0.5)}, 2**29, False)],
    ids=["fits", "no room", "augmented"],
)
def test_chunks_are_made_only_where_images_are_not_held(
    changes: Any, room: int, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    chunks = batches.chunks
    monkeypatch.setattr(batches, "chunks", lambda *args: asked.append(1) or chunks(*args))
    monkeypatch.setattr(own_steps, "HELD_BYTES", room)

    trained(MODELS["dense"], epochs=1, **changes)

    on_cpu = keras.backend.backend() == "jax"  # where a dense network's steps are fused, without changes
    assert bool(asked) is not (holds and on_cpu)


@only_jax
def test_what_a_device_changes(accelerated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x, coloured = np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)
    assert steps.device_changes(CLOSE, x)
    assert not steps.device_changes(AugmentSpec(), x)
    assert not steps.device_changes(AugmentSpec(jpeg=0.5), coloured)  # Pillow does
    monkeypatch.setattr(own_steps, "HELD_BYTES", 100)
    assert not steps.device_changes(CLOSE, x)


def test_a_processor_changes_nothing() -> None:
    assert not steps.device_changes(CLOSE, np.zeros((2, 8, 8, 1), np.uint8))
