"""Where the part of a network that never changes ends."""

import keras
import numpy as np
import pytest

from pneumo_core.models import backbones
from pneumo_core.specs import BackboneSpec
from pneumo_core.training import features, frozen_part
from tests.pneumo_core.eager import outputs
from tests.pneumo_core.models.test_strided import one_block_a_stage

CUTS = {  # block inputs, before the six times as many maps inside; None: nothing is frozen
    "stage-1": ("block10_add", (4, 4, 112)),
    "stage-2": ("block4_add", (8, 8, 40)),
    "all": None,
}


@pytest.mark.parametrize("trainable_from", CUTS)
def test_a_network_is_cut_where_little_must_be_kept(trainable_from: str) -> None:
    spec = BackboneSpec(weights="none", trainable_from=trainable_from)

    end = frozen_part.end(backbones.build(spec, (64, 64, 1)))

    found = None if end is None else (end._keras_history.operation.name, end.shape[1:])
    assert found == CUTS[trainable_from]


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2"])
def test_the_parts_make_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one_block_a_stage(monkeypatch)
    spec = BackboneSpec(name=name, weights="none", trainable_from="stage-2", train_norms=True)
    network = backbones.build(spec, (32, 32, 3))
    trained = [variable.path for variable in network.trainable_variables]
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    logits = outputs(keras.Model(network.input, network.get_layer("score").input), x)

    parts = features.split(network, spec)

    assert parts is not None
    np.testing.assert_allclose(outputs(parts.rest, outputs(parts.frozen, x)), logits, rtol=1e-5)
    assert not parts.frozen.trainable_variables
    assert [variable.path for variable in parts.rest.trainable_variables] == trained  # a checkpoint counts on the order
