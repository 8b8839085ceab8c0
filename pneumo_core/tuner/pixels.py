"""What a model does with pixels before its first weights: whether it expects 0 to 255 or 0 to 1."""

from typing import Any

import keras
import numpy as np
from keras import layers

RAW, UNIT = (0.0, 255.0), (0.0, 1.0)
SCALED_MAX = 16.0  # 0 to 255 becomes less than this where a model scales pixels itself, as to [-1, 1]
FLAT_RANGE = 0.1  # of what 0 to 1 becomes: less means that a model which divides by 255 gets pixels divided already


def wanted(model: keras.Model, given: tuple[float, ...] | None) -> tuple[float, float]:
    """Return what 0 and 255 should become before `model`, which is a flat graph, sees them: `given`, or as it expects.

    A model that scales or centres pixels itself gets them as they are, any other from 0 to 1. Raises `ValueError` where
    `given` would have them scaled twice.
    """
    black, white = _reached(model, 0.0), _reached(model, 255.0)
    scales = max(abs(black).max(), abs(white).max()) <= SCALED_MAX or black.min() < -SCALED_MAX
    if given is None:
        return RAW if scales else UNIT
    low, high = given
    if scales and max(abs(low), abs(high)) <= SCALED_MAX and np.ptp(_both(model, low, high)) < FLAT_RANGE:
        raise ValueError(
            f"the model scales pixels from 0 to 255 itself, and pixels=({low:g}, {high:g}) scales them before that: "
            "leave `pixels` out, or the scaling out of `build`"
        )
    return float(low), float(high)


def _both(model: keras.Model, low: float, high: float) -> np.ndarray:
    return np.concatenate([_reached(model, low).ravel(), _reached(model, high).ravel()])


def _reached(model: keras.Model, value: float) -> np.ndarray:
    """Return what an image of one `value` has become where it first meets weights that are trained."""
    shape = [1, *(side or 32 for side in model.input_shape[1:])]
    found = _before_weights(model)(np.full(shape, value, np.float32), training=False)
    return np.concatenate([keras.ops.convert_to_numpy(x).astype(np.float64).ravel() for x in keras.tree.flatten(found)])


def _before_weights(model: keras.Model) -> keras.Model:
    """Return `model` up to the input of its first layer with trainable weights, frozen ones included."""
    found: list[Any] = []

    def called(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        weights = getattr(layer, "weights", ())  # operations have none
        learns = any(weight.dtype.startswith("float") for weight in weights)  # unlike the state of a random generator
        if learns and not found and not isinstance(layer, layers.Normalization):
            found.append(keras.tree.flatten((args, kwargs)))
        return layer(*args, **kwargs)

    entry = keras.Input(model.input_shape[1:])
    output = keras.models.clone_model(model, entry, clone_function=lambda layer: layer, call_function=called).output
    tensors = [x for x in found[0] if isinstance(x, keras.KerasTensor)] if found else [output]
    return keras.Model(entry, tensors)
