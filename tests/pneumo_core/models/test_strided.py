"""Strided 1×1 convolutions, which crash TensorFlow in training on some processors, rewritten."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications import resnet

from pneumo_core.models import backbones, strided
from pneumo_core.specs import BackboneSpec
from tests.pneumo_core.eager import outputs


def residual(side_px: int) -> keras.Model:
    pixels = keras.Input((side_px, side_px, 3), name="pixels")
    maps = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(pixels)
    shortcut = layers.Conv2D(4, 1, strides=2, padding="same", use_bias=False, name="shortcut")(pixels)
    maps = layers.BatchNormalization(name="norm", trainable=False)(layers.Add(name="add")([maps, shortcut]))
    maps = layers.Conv2D(2, 1, strides=(2, 3), padding="valid", name="narrow")(maps)
    return keras.Model(pixels, layers.Flatten()(maps), name="residual")


def strided_1x1(model: keras.Model) -> list[str]:
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    return [layer.name for layer in convolutions if set(layer.kernel_size) == {1} and max(layer.strides) > 1]


def one_block_a_stage(patch: pytest.MonkeyPatch) -> None:
    """Leave the first block of each stage of ResNet50, which is the one with a stride."""
    stack = resnet.stack_residual_blocks_v1
    patch.setattr(resnet, "stack_residual_blocks_v1", lambda x, filters, blocks, **more: stack(x, filters, 1, **more))


@pytest.mark.parametrize("side_px", [16, 17], ids=["even", "odd"])
def test_the_outputs_names_and_frozen_layers_stay(side_px: int) -> None:
    model = residual(side_px)
    x = np.random.default_rng(0).normal(size=(3, side_px, side_px, 3)).astype(np.float32)

    rewritten = strided.without_strided_1x1(model)

    assert strided_1x1(model) == ["shortcut", "narrow"]
    assert strided_1x1(rewritten) == []
    np.testing.assert_array_equal(outputs(rewritten, x), outputs(model, x))
    assert {layer.name for layer in model.layers} < {layer.name for layer in rewritten.layers}
    assert not rewritten.get_layer("norm").trainable


def test_a_sequential_model_is_rewritten_too_and_one_without_such_layers_is_left() -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 1, strides=2, name="conv"), layers.Flatten()])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)

    rewritten = strided.without_strided_1x1(model)

    np.testing.assert_array_equal(outputs(rewritten, x), outputs(model, x))
    assert strided.without_strided_1x1(rewritten) is rewritten


def test_a_fine_tuned_resnet_trains_without_any_and_computes_what_keras_does(monkeypatch: pytest.MonkeyPatch) -> None:
    one_block_a_stage(monkeypatch)
    keras.utils.clear_session()
    spec = BackboneSpec(name="ResNet50", weights="none", trainable_from="conv5_block1_1_conv")
    model = backbones.build(spec, (32, 32, 3))
    original = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in original.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights() if layer.weights else [])
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    expected = outputs(original, keras.applications.resnet.preprocess_input(x.astype(np.float32)))

    features = outputs(keras.Model(model.input, model.get_layer("features").output), x)
    before = model.get_layer("conv5_block1_0_conv").get_weights()[0]
    model.compile(keras.optimizers.SGD(1e-4), "binary_crossentropy")
    for _ in range(2):  # the score starts at zero weights, whose gradient stops at the head
        model.train_on_batch(x, np.array([[0.0], [1.0], [0.0], [1.0]]))

    assert strided_1x1(model) == []
    np.testing.assert_allclose(features, expected.mean(axis=(1, 2)), atol=1e-4)
    assert np.abs(model.get_layer("conv5_block1_0_conv").get_weights()[0] - before).max() > 0
