"""The gradient of a depthwise kernel that is larger than its maps, on TensorFlow's CPU.

oneDNN has no fast code for it: with maps of 4 × 4 × 1152 and a 5 × 5 kernel it took 31 ms, the convolution itself 1.6
(batches of 32, one core with AVX2), and such layers make up the last stage of an EfficientNet at 128 px. As a depthwise
convolution of its own, in which every image's maps are channels and the gradients that arrive are the kernels, it takes
5 ms. The values differ by rounding only.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from pneumo_core.models.layers import leaves

_STRIDES = (1, 1, 1, 1)


@contextlib.contextmanager
def fast_kernel_gradients(network: keras.Model) -> Iterator[None]:
    """Let depthwise layers of `network` use the fast gradient for small maps where the step is traced inside."""
    meant = [] if tf.config.list_physical_devices("GPU") else list(filter(_is_meant, leaves(network)))
    for layer in meant:
        layer.call = functools.partial(_call, layer)
    try:
        yield
    finally:
        for layer in meant:
            del layer.call


def _is_meant(layer: keras.Layer) -> bool:
    if not (isinstance(layer, keras.layers.DepthwiseConv2D) and layer.trainable):
        return False
    return (
        layer.padding == "same"
        and {*layer.strides, *layer.dilation_rate, layer.depth_multiplier} == {1}
        and not layer.use_bias
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    )


def _call(layer: keras.layers.DepthwiseConv2D, x: Any) -> Any:
    if not x.shape.is_fully_defined() or max(layer.kernel_size) <= max(x.shape[1:3]):
        return type(layer).call(layer, x)
    return convolved(x, tf.identity(keras.ops.convert_to_tensor(layer.kernel)))  # a tensor, not the variable itself


@tf.custom_gradient  # type: ignore[untyped-decorator]
def convolved(x: Any, kernel: Any) -> Any:
    """Return the depthwise convolution of `x` (b, h, w, c) with `kernel` (k, l, c, 1), of the same size."""

    def back(gradient: Any) -> Any:
        of_x = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, gradient, _STRIDES, "SAME")
        return of_x, _kernel_gradient(x, gradient, kernel.shape)

    return tf.nn.depthwise_conv2d(x, kernel, _STRIDES, "SAME"), back


def _kernel_gradient(x: Any, gradient: Any, shape: Any) -> Any:
    b, h, w, c = x.shape
    k, l = shape[:2]  # noqa: E741
    around = [((n - 1) // 2, n // 2) for n in (k, l)]
    maps = tf.pad(tf.transpose(x, (1, 2, 0, 3)), [*around, (0, 0), (0, 0)])  # (h + k - 1, w + l - 1, b, c)
    kernels = tf.reshape(tf.transpose(gradient, (1, 2, 0, 3)), (h, w, b * c, 1))
    found = tf.nn.depthwise_conv2d(tf.reshape(maps, (1, h + k - 1, w + l - 1, b * c)), kernels, _STRIDES, "VALID")
    return tf.reshape(tf.reduce_sum(tf.reshape(found, (k * l, b, c)), axis=1), shape)
