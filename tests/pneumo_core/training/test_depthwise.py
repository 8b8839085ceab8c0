"""Gradients of depthwise kernels larger than their maps against TensorFlow's own."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("on TensorFlow only", allow_module_level=True)

import tensorflow as tf

from pneumo_core.training import depthwise


def network(side: int, kernel: int, **more: object) -> keras.Model:
    pixels = keras.Input((side, side, 3))
    inner = keras.Model(pixels, keras.layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, **more)(pixels))
    return keras.Model(pixels, inner(pixels))  # as backbones are: a network within one


def gradients(model: keras.Model, x: tf.Tensor) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.sin(model(x)))
    return [found.numpy() for found in tape.gradient(loss, [x, model.trainable_variables[0]])]


@pytest.mark.parametrize(("side", "kernel"), [(4, 5), (3, 5), (2, 3), (1, 4), (3, 4), (5, 5)])
def test_they_are_those_of_tensorflow(side: int, kernel: int) -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(5, side, side, 3)).astype(np.float32))
    model = network(side, kernel)
    expected = gradients(model, x)

    with depthwise.fast_kernel_gradients(model):
        layer = model.layers[1].layers[1]
        assert "call" in vars(layer)
        found = gradients(model, x)

    assert "call" not in vars(layer)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [network(4, 5, strides=2), network(4, 5, activation="relu")])
def test_other_layers_are_left_alone(model: keras.Model) -> None:
    with depthwise.fast_kernel_gradients(model):
        assert "call" not in vars(model.layers[1].layers[1])


def test_a_frozen_layer_is_left_alone() -> None:
    model = network(4, 5)
    model.trainable = False
    with depthwise.fast_kernel_gradients(model):
        assert "call" not in vars(model.layers[1].layers[1])
