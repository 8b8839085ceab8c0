"""Fused activations against Keras's own."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.models import model
from pneumo_core.specs import CnnSpec

if keras.backend.backend() != "tensorflow":
    pytest.skip("fused on TensorFlow only", allow_module_level=True)

import tensorflow as tf

from pneumo_core.training import activations

each_activation = pytest.mark.parametrize("stock", activations.FUSED, ids=lambda stock: stock.__name__)


def with_slope(function: Callable[[Any], Any], x: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        total = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
    return tf.cast(y, tf.float32).numpy(), tf.cast(tape.gradient(total, x), tf.float32).numpy()


@each_activation
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("bfloat16", 0.03)])
def test_values_and_gradients_are_those_of_keras(stock: Any, dtype: str, tolerance: float) -> None:
    x = tf.cast(np.linspace(-12, 12, 2 * 6 * 6 * 3, dtype=np.float32).reshape(2, 6, 6, 3), dtype)
    exact = with_slope(stock, tf.cast(x, tf.float32))

    for found, expected in zip(with_slope(activations.FUSED[stock], x), exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@each_activation
def test_what_is_no_feature_map_is_left_to_keras(stock: Any) -> None:
    x = tf.constant([[-1.0, 0.5]])

    np.testing.assert_array_equal(activations.FUSED[stock](x), stock(x))


def test_layers_are_as_before_afterwards() -> None:
    network = model.build(CnnSpec(filters=(2, 2), activation="silu"), (8, 8, 1))
    before = network.to_json()
    layer = network.get_layer("block1_silu")

    with activations.fused(network):
        assert layer.activation is not keras.activations.silu

    assert layer.activation is keras.activations.silu
    assert network.to_json() == before
