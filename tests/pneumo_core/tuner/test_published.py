"""Weights that Keras publishes, in a hypermodel: found where ours are, and in the trial's network."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications import mobilenet_v2
from keras.src.legacy.saving import legacy_h5_format

from pneumo_core.errors import DataError
from pneumo_core.models import model, pretrained
from pneumo_core.specs import KerasTunerSpec, PretrainedLayers
from pneumo_core.tuner import drawing, source
from pneumo_core.tuner.dialogue import Open

FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
SHAPE = {"alpha": 0.35, "input_shape": (96, 96, 3), "include_top": False}


@pytest.fixture(autouse=True)
def _four_blocks_of_seventeen(monkeypatch: pytest.MonkeyPatch) -> None:
    block = mobilenet_v2._inverted_res_block
    monkeypatch.setattr(
        mobilenet_v2, "_inverted_res_block", lambda x, **more: block(x, **more) if more["block_id"] < 4 else x
    )


def transfer(hp: Any) -> keras.Model:
    base = keras.applications.MobileNetV2(weights="imagenet", **SHAPE)
    base.trainable = False
    entry = keras.Input((96, 96, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(entry)
    x = layers.GlobalAveragePooling2D()(base(x, training=False))
    made = keras.Model(entry, layers.Dense(1, activation="sigmoid", name="own")(x))
    made.compile("adam", "binary_crossentropy")
    return made


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> keras.Model:
    """Return a network whose weights are a published file in the weights folder."""
    keras.utils.set_random_seed(5)
    network = keras.applications.MobileNetV2(weights=None, **SHAPE)
    with h5py.File(tmp_path / FILE, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    return network


def draw(build: Any) -> Any:
    return drawing.draw(Open(source="x.py", attribute="x"), source._hypermodel("x", build, {}), lambda question: 0)


def test_the_trial_begins_with_the_weights_of_the_file(published: keras.Model) -> None:
    spec = draw(transfer)
    assert isinstance(spec.model, KerasTunerSpec)
    assert spec.model.pixels == (0.0, 255.0)
    assert [found.file for found in spec.model.pretrained] == [FILE]
    keras.utils.set_random_seed(6)
    network = model.build(spec.model, spec.data.shape)
    by_name = {layer.name: layer for layer in network.layers}
    for layer in published.layers:
        if layer.weights:
            for ours, theirs in zip(by_name[layer.name].weights, layer.weights, strict=True):
                np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
            assert not by_name[layer.name].trainable
    x = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
    maps = published(x / 127.5 - 1.0, training=False)
    kernel, bias = by_name["own"].get_weights()
    expected = 1 / (1 + np.exp(-(np.asarray(maps).mean((1, 2)) @ kernel + bias)))
    np.testing.assert_allclose(network(x), expected, atol=1e-4)


def test_a_part_of_the_network_takes_its_part_of_the_file(published: keras.Model) -> None:
    def part(hp: Any) -> keras.Model:
        base = keras.applications.MobileNetV2(weights="imagenet", **SHAPE)
        x = layers.GlobalAveragePooling2D()(base.get_layer("block_3_expand_relu").output)
        made = keras.Model(base.input, layers.Dense(1, activation="sigmoid")(x))
        made.compile("adam", "binary_crossentropy")
        return made

    spec = draw(part)
    network = model.build(spec.model, spec.data.shape)
    ours, theirs = network.get_layer("block_1_project"), published.get_layer("block_1_project")
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])


def test_weights_that_are_nowhere_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "DOWNLOAD_HOST", "http://127.0.0.1:9")  # nothing answers there
    with pytest.raises(DataError, match=rf"{FILE} is not in PNEUMO_WEIGHTS=.*put {FILE} into a folder"):
        draw(transfer)


@pytest.mark.parametrize("url", ["http://elsewhere/x.h5", "https://storage.googleapis.com/x.py", ""])
def test_only_published_files_are_asked_for(url: str) -> None:
    with pytest.raises(ValueError, match="which Keras publishes"):
        PretrainedLayers(url=url, layers=("a",))
