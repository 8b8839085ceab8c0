"""Training on images that lie on the device, against training on chunks of them."""

from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.specs import AugmentSpec, CnnSpec, DenseSpec, ModelSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import batches
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on

if keras.backend.backend() != "jax":
    pytest.skip("images are held on JAX only", allow_module_level=True)

import jax

from pneumo_core.training import steps_jax

MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(6,), dropout=0.2, normalization="batch"),
    "cnn": CnnSpec(filters=(3, 4), l2=0.01),
}


def trained(spec: ModelSpec, **train: Any) -> Any:
    settings = TrainSpec(**{"epochs": 3, "batch_size": 16, "schedule": "cosine", **train})
    return run_trial(TrialSpec(model=spec, train=settings), ObjectiveSpec(), arrays(), 7, go_on)


@pytest.mark.parametrize("steps_per_epoch", [None, 3])
@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_held_images_give_the_trial_that_chunks_give(
    spec: ModelSpec, steps_per_epoch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # steps fused as on a GPU, run here
    held = trained(spec, steps_per_epoch=steps_per_epoch)
    monkeypatch.setattr(steps_jax, "HELD_BYTES", 0)
    chunked = trained(spec, steps_per_epoch=steps_per_epoch)

    np.testing.assert_allclose(held.scores, chunked.scores, atol=2e-6)
    assert [e["loss"] for e in held.history] == pytest.approx([e["loss"] for e in chunked.history], rel=1e-5)


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
    monkeypatch.setattr(steps_jax, "HELD_BYTES", room)

    trained(MODELS["dense"], **changes)

    assert bool(asked) is not holds
