"""Strided 1×1 convolutions, rewritten so that training them is safe.

TensorFlow 2.21 with oneDNN on AVX-512 processors overwrites foreign memory in their filter gradient, and the process
dies some steps later. Such a kernel only sees each second pixel, so picking those pixels first is the same function;
Keras' own ResNetV2 is built that way.
"""

from typing import Any

import keras
from keras import layers


def without_strided_1x1(model: keras.Model) -> keras.Model:
    """Return `model` with a 1×1 pooling of its stride before the kernel for each strided 1×1 convolution.

    Outputs, layer names, weights and frozen layers stay; where there is none, it is `model` itself. Models within
    the model are left as they are.
    """
    strides = {layer.name: layer.strides for layer in model.layers if _is_strided_1x1(layer)}
    if not strides:
        return model
    if isinstance(model, keras.Sequential):  # which has no place for another layer
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)

    def called(layer: keras.Layer, x: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in strides:
            name = f"{layer.name}_stride"
            x = layers.MaxPooling2D(1, strides[layer.name], data_format=layer.data_format, name=name)(x)
        return layer(x, *args, **kwargs)

    rewritten = keras.models.clone_model(model, clone_function=_cloned, call_function=called)
    for layer in model.layers:
        if layer.weights:
            rewritten.get_layer(layer.name).set_weights(layer.get_weights())
    return rewritten


def _is_strided_1x1(layer: keras.Layer) -> bool:
    return isinstance(layer, layers.Conv2D) and set(layer.kernel_size) == {1} and max(layer.strides) > 1


def _cloned(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    return type(layer).from_config({**config, "strides": (1, 1)} if _is_strided_1x1(layer) else config)
