"""Saliency: it points at what the network looks at."""

import keras
import numpy as np
import pytest
from keras import layers

from pneumo_core.bundles import saliency
from pneumo_core.specs import CnnSpec, DataSpec, DenseSpec, ModelSpec
from tests.pneumo_core.made_bundles import network

MODELS: dict[str, ModelSpec] = {
    "flatten": CnnSpec(filters=(4, 6)),
    "average": CnnSpec(filters=(4, 6), head="average", normalization="batch"),
    "dense": DenseSpec(units=(5,)),
}


def corner_detector(flat: bool) -> keras.Model:
    """Return a network whose logit is the mean brightness of the top left quarter."""
    weights = np.zeros((16, 16, 1), np.float32)
    weights[:8, :8] = 1
    pixels = keras.Input((256,) if flat else (16, 16, 1), name="pixels")
    maps = pixels if flat else layers.Conv2D(1, 1, kernel_initializer="ones", name="conv")(pixels)
    logit = layers.Dense(1, name="logit")(layers.Flatten()(maps))
    model = keras.Model(pixels, layers.Activation("sigmoid", name="score")(logit))
    model.get_layer("logit").set_weights([weights.reshape(256, 1), np.zeros(1)])
    return model


@pytest.mark.parametrize("flat", [False, True], ids=["conv", "dense"])
def test_it_points_at_the_corner_that_counts(flat: bool) -> None:
    x = np.full((2, 16, 16, 1), 200, np.uint8)
    for evidence in saliency.maps(corner_detector(flat), x):
        assert evidence[:7, :7].mean() > 0.5
        assert evidence[10:, 10:].max() < 0.1


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_every_kind_of_network_has_maps_of_the_image_size_in_0_to_1(spec: ModelSpec) -> None:
    x = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1), dtype=np.uint8)
    found = saliency.maps(network(spec, DataSpec(image_size_px=16)), x)
    assert found.shape == (3, 16, 16)
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.isfinite(found).all()


def test_an_overlay_colours_where_the_evidence_is() -> None:
    image = np.full((40, 60), 100, np.uint8)
    evidence = np.zeros((8, 8), np.float32)
    evidence[:4, :4] = 1
    drawn = np.asarray(saliency.overlay(image, evidence)).astype(int)
    assert drawn.shape == (40, 60, 3)
    assert drawn[5, 5, 0] - drawn[5, 5, 2] > 100
    assert tuple(drawn[35, 55]) == (100, 100, 100)


@pytest.mark.parametrize("joined_as", ["maps", "vectors"])
def test_branches_are_seen_together(joined_as: str) -> None:
    pixels = keras.Input((16, 16, 1), name="pixels")
    branches = [layers.Conv2D(2, 3, padding="same")(pixels), layers.SeparableConv2D(2, 3, padding="same")(pixels)]
    if joined_as == "maps":
        features = layers.GlobalAveragePooling2D()(layers.Concatenate()(branches))
    else:
        features = layers.Concatenate()([layers.GlobalAveragePooling2D()(maps) for maps in branches])
    logit = layers.Dense(1, name="logit")(features)
    model = keras.Model(pixels, layers.Activation("sigmoid", name="score")(logit))
    last = saliency._last_maps(model, model.get_layer("score").input)
    assert (last is None) == (joined_as == "vectors")
    x = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1), dtype=np.uint8)
    assert saliency.maps(model, x).shape == (3, 16, 16)
