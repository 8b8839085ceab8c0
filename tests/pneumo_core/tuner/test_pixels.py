"""What a model does with pixels before its weights."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pneumo_core.tuner import pixels, translate

Scaled = Callable[[Any], Any]


def network(scaled: Scaled, channels: int = 3) -> keras.Model:
    entry = keras.Input((12, 12, channels))
    x = layers.Conv2D(2, 3)(scaled(entry))
    return translate._flattened(keras.Model(entry, layers.Dense(1)(layers.Flatten()(x))))


def normalization() -> layers.Normalization:
    return layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3)


@pytest.mark.parametrize(
    ("scaled", "ends"),
    [
        (lambda x: x, pixels.UNIT),
        (layers.Rescaling(1 / 255), pixels.RAW),
        (layers.Rescaling(1 / 127.5, offset=-1), pixels.RAW),
        (layers.Rescaling(2.0, offset=-1), pixels.UNIT),
        (lambda x: x / 255.0, pixels.RAW),
        (lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="tf"), pixels.RAW),
        (lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="torch"), pixels.RAW),
        (lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="caffe"), pixels.RAW),
        (normalization(), pixels.RAW),
        (layers.BatchNormalization(), pixels.UNIT),
        (lambda x: layers.Rescaling(1 / 255)(layers.RandomFlip()(layers.ZeroPadding2D()(x))), pixels.RAW),
        (lambda x: keras.Sequential([layers.Rescaling(1 / 255)])(x), pixels.RAW),
        (layers.Lambda(lambda x: (x - 127.5) / 127.5), pixels.RAW),
    ],
)
def test_a_model_that_scales_pixels_itself_gets_them_as_they_are(scaled: Scaled, ends: tuple[float, float]) -> None:
    assert pixels.wanted(network(scaled), None) == ends


def test_pixels_that_would_be_scaled_twice_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scales pixels from 0 to 255 itself, and pixels=\(0, 1\) scales them before"):
        pixels.wanted(network(layers.Rescaling(1 / 255)), (0.0, 1.0))
    assert pixels.wanted(network(layers.Rescaling(1 / 255)), (0.0, 255.0)) == pixels.RAW
    assert pixels.wanted(network(lambda x: x), (-1.0, 1.0)) == (-1.0, 1.0)
    assert pixels.wanted(network(lambda x: x), (0.0, 255.0)) == pixels.RAW
    assert pixels.wanted(network(layers.Rescaling(2.0, offset=-1)), (0.0, 1.0)) == pixels.UNIT


def test_a_model_of_flat_input_or_of_any_size_is_looked_at_too() -> None:
    entry = keras.Input((144,))
    assert pixels.wanted(keras.Model(entry, layers.Dense(1)(entry / 255.0)), None) == pixels.RAW
    entry = keras.Input((None, None, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(entry))
    assert pixels.wanted(keras.Model(entry, pooled), None) == pixels.RAW
    assert np.isfinite(pixels.FLAT_RANGE)
