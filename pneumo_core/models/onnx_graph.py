"""Networks as ONNX, written layer by layer: milliseconds, from a description alone, the same for every backend.

Maps lie as (n, c, h, w) in the graph, as ONNX wants them, and as (n, h, w, c) at its ends, as Keras has them. Batch
normalisation is written as it is: the runtime folds it into the convolution before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pneumo_core.models.described import Described, Layer, Undescribed
from pneumo_core.models.onnx_writer import Tensor, Writer

Values: TypeAlias = npt.NDArray[np.float32]
Writes = Callable[[Writer, Layer, Tensor], Tensor]
Joins = Callable[[Writer, Layer, list[Tensor]], Tensor]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX model from pixels, `INPUT` (n, *input_shape) uint8, to `OUTPUT` (n, *output_shape) float32."""

    content: bytes
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def encode(described: Described) -> Graph:
    """Return the network as ONNX.

    Raises `Undescribed` where a layer is unknown here or doesn't fit.
    """
    writer, tensors = Writer(), dict[str, Tensor]()
    for layer in described.layers:
        try:
            tensors[layer.name] = _written(writer, layer, [tensors[name] for name in layer.inputs])
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise Undescribed(f"`{layer.name}` ({layer.kind}): {error!r}") from error
    first, last = tensors[described.layers[0].name], tensors[described.output]
    return Graph(content=writer.model(last), input_shape=first.shape, output_shape=last.shape)


def _written(writer: Writer, layer: Layer, inputs: list[Tensor]) -> Tensor:
    if layer.kind == "InputLayer":
        return writer.input(tuple(layer.config["batch_shape"][1:]))
    if layer.kind in _JOINING:
        return _JOINING[layer.kind](writer, layer, inputs)
    if layer.kind not in _SINGLE:
        raise Undescribed(f"{layer.kind} is unknown here")
    if layer.config.get("data_format", "channels_last") != "channels_last":
        raise Undescribed(f"`{layer.name}` has its channels first")
    [x] = inputs
    return _SINGLE[layer.kind](writer, layer, x)


def _convolution(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    kernel, *bias = layer.weights  # (h, w, in / groups, out)
    maps = _convolved(writer, layer, x, kernel.transpose(3, 2, 0, 1), bias, layer.config["groups"])
    return _activated(writer, maps, layer.config["activation"])


def _depthwise(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    kernel, *bias = layer.weights
    maps = _convolved(writer, layer, x, _by_channel(kernel), bias, x.shape[-1])
    return _activated(writer, maps, layer.config["activation"])


def _separable(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    kernel, pointwise, *bias = layer.weights
    maps = _convolved(writer, layer, x, _by_channel(kernel), [], x.shape[-1])
    maps = _kernel(writer, maps, pointwise.transpose(3, 2, 0, 1), bias, maps.shape[:2], {})
    return _activated(writer, maps, layer.config["activation"])


def _by_channel(kernel: Values) -> Values:
    """Return a depthwise kernel (h, w, c, k) as a grouped one (c * k, 1, h, w)."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _convolved(writer: Writer, layer: Layer, x: Tensor, kernel: Values, bias: list[Values], groups: int) -> Tensor:
    strides, dilations = _pair(layer.config["strides"]), _pair(layer.config["dilation_rate"])
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
    sides, pads = _placed(x, spans, strides, layer.config["padding"])
    settings = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    return _kernel(writer, x, kernel, bias, sides, settings)


def _kernel(
    writer: Writer, x: Tensor, kernel: Values, bias: list[Values], sides: tuple[int, ...], settings: Mapping[str, Any]
) -> Tensor:
    values = [writer.constant(value) for value in (kernel, *bias)]
    return writer.add("Conv", [x.name, *values], (*sides, kernel.shape[0]), **settings)


def _placed(x: Tensor, spans: list[int], strides: list[int], padding: str) -> tuple[tuple[int, ...], list[int]]:
    """Return the sides of what a window of `spans` leaves of `x`, and the padding: above, left, below, right.

    "same" is TensorFlow's, which puts an odd pixel below and right.
    """
    if padding == "valid":
        windows = zip(x.shape[:2], spans, strides, strict=True)
        return tuple((side - span) // stride + 1 for side, span, stride in windows), [0, 0, 0, 0]
    if padding != "same":
        raise ValueError(f"padding {padding!r}")
    sides = tuple(-(-side // stride) for side, stride in zip(x.shape[:2], strides, strict=True))
    needed = [(out - 1) * stride + span for out, stride, span in zip(sides, strides, spans, strict=True)]
    missing = [max(0, span - side) for span, side in zip(needed, x.shape[:2], strict=True)]
    return sides, [n // 2 for n in missing] + [n - n // 2 for n in missing]


def _pool(kind: str, **settings: Any) -> Writes:
    def pooled(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
        size, strides = _pair(layer.config["pool_size"]), _pair(layer.config["strides"] or layer.config["pool_size"])
        sides, pads = _placed(x, size, strides, layer.config["padding"])
        shape = (*sides, x.shape[-1])
        return writer.add(kind, [x.name], shape, kernel_shape=size, strides=strides, pads=pads, **settings)

    return pooled


def _global_pool(kind: str) -> Writes:
    def pooled(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
        channels = x.shape[-1]
        found = writer.add(kind, [x.name], (1, 1, channels))  # (n, c, 1, 1)
        return found if layer.config["keepdims"] else writer.add("Flatten", [found.name], (channels,))

    return pooled


def _padded(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    (top, bottom), (left, right) = layer.config["padding"]
    pads = writer.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    height, width, channels = x.shape
    return writer.add("Pad", [x.name, pads], (height + top + bottom, width + left + right, channels))


def _dense(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    if len(x.shape) != 1:
        raise ValueError(f"input of shape {x.shape}")
    kernel, *bias = layer.weights  # (in, units)
    values = [writer.constant(value) for value in (kernel, *bias)]
    found = writer.add("Gemm", [x.name, *values], (kernel.shape[1],))
    return _activated(writer, found, layer.config["activation"])


def _batch_norm(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    _check_last_axis(layer, x)
    weights, channels = list(layer.weights), x.shape[-1]
    gamma = weights.pop(0) if layer.config["scale"] else np.ones(channels, np.float32)
    beta = weights.pop(0) if layer.config["center"] else np.zeros(channels, np.float32)
    mean, variance = weights
    values = [writer.constant(value) for value in (gamma, beta, mean, variance)]
    return writer.add("BatchNormalization", [x.name, *values], x.shape, epsilon=layer.config["epsilon"])


def _layer_norm(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    _check_last_axis(layer, x)
    weights, channels = list(layer.weights), x.shape[-1]
    gamma = weights.pop(0) if layer.config["scale"] else np.ones(channels, np.float32)
    values = [writer.constant(value) for value in (gamma, *weights)]
    last = writer.channels_last(x)
    found = writer.add("LayerNormalization", [last.name, *values], x.shape, epsilon=layer.config["epsilon"])
    return writer.channels_first(found)


def _check_last_axis(layer: Layer, x: Tensor) -> None:
    axis = layer.config["axis"]
    [axis] = axis if isinstance(axis, list | tuple) else [axis]
    if axis not in (-1, len(x.shape)):
        raise ValueError(f"axis {axis}")


def _rescaled(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    scale, offset = (np.asarray(layer.config[name], np.float32) for name in ("scale", "offset"))
    return _shifted(writer, _scaled(writer, x, scale), offset)


def _normalised(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    if layer.config["invert"]:
        raise ValueError("it is inverted")
    _check_last_axis(layer, x)
    given = [layer.config[name] for name in ("mean", "variance")]
    kept = layer.weights[:2] if None in given else given
    mean, variance = (np.asarray(value, np.float32).reshape(-1) for value in kept)
    factor = (1 / np.maximum(np.sqrt(variance), 1e-7)).astype(np.float32)
    return _scaled(writer, _shifted(writer, x, -mean), factor)


def _scaled(writer: Writer, x: Tensor, factor: Values) -> Tensor:
    return writer.add("Mul", [x.name, writer.constant(_over_channels(x, factor))], x.shape)


def _shifted(writer: Writer, x: Tensor, by: Values) -> Tensor:
    return writer.add("Add", [x.name, writer.constant(_over_channels(x, by))], x.shape)


def _over_channels(x: Tensor, values: Values) -> Values:
    """Return a scalar or one value a channel so that it spreads over `x` as the graph has it."""
    return values.reshape(-1, 1, 1) if values.ndim and len(x.shape) == 3 else values


def _activation(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    return _activated(writer, x, layer.config["activation"])


def _rectified(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    if layer.config["negative_slope"] or layer.config["threshold"]:
        raise ValueError("a slope or a threshold")
    top = layer.config["max_value"]
    return writer.add("Relu", [x.name], x.shape) if top is None else _clipped(writer, x, top)


def _clipped(writer: Writer, x: Tensor, top: float) -> Tensor:
    ends = [writer.constant(np.array(value, np.float32)) for value in (0, top)]
    return writer.add("Clip", [x.name, *ends], x.shape)


def _activated(writer: Writer, x: Tensor, name: str) -> Tensor:
    if name == "linear":
        return x
    if name == "relu6":
        return _clipped(writer, x, 6)
    if name in ("silu", "swish"):
        gate = writer.add("Sigmoid", [x.name], x.shape)
        return writer.add("Mul", [x.name, gate.name], x.shape)
    if name == "softmax" and len(x.shape) > 1:
        raise ValueError("softmax over maps")
    kind, settings = _FUNCTIONS[name]
    return writer.add(kind, [x.name], x.shape, **settings)


def _flat(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    return writer.add("Flatten", [writer.channels_last(x).name], (int(np.prod(x.shape)),))


def _reshaped(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    shape = tuple(layer.config["target_shape"])
    if len(x.shape) != 1 or shape != (1, 1, x.shape[0]):
        raise ValueError(f"{x.shape} to {shape}")
    return writer.add("Reshape", [x.name, writer.constant(np.array([0, x.shape[0], 1, 1], np.int64))], shape)


def _flipped(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    _check_last_axis(layer, x)
    order = writer.constant(np.arange(x.shape[-1])[::-1].astype(np.int64))
    return writer.add("Gather", [x.name, order], x.shape, axis=1)


def _same(writer: Writer, layer: Layer, x: Tensor) -> Tensor:
    return x


def _joined(writer: Writer, layer: Layer, inputs: list[Tensor]) -> Tensor:
    _check_last_axis(layer, inputs[0])
    shape = (*inputs[0].shape[:-1], sum(x.shape[-1] for x in inputs))
    return writer.add("Concat", [x.name for x in inputs], shape, axis=1)


def _combined(kind: str) -> Joins:
    def combined(writer: Writer, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if len({len(x.shape) for x in inputs}) > 1:
            raise ValueError("inputs of different ranks")
        found, *others = inputs
        for x in others:
            found = writer.add(kind, [found.name, x.name], np.broadcast_shapes(found.shape, x.shape))
        return found

    return combined


def _pair(values: Any) -> list[int]:
    return [int(values)] * 2 if isinstance(values, int) else [int(value) for value in values]


_FUNCTIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "gelu": ("Gelu", {}),
    "softplus": ("Softplus", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "hard_swish": ("HardSwish", {}),
}
_JOINING: Mapping[str, Joins] = {"Concatenate": _joined, "Add": _combined("Add"), "Multiply": _combined("Mul")}
_SINGLE: Mapping[str, Writes] = {
    "Activation": _activation,
    "AveragePooling2D": _pool("AveragePool", count_include_pad=0),
    "BatchNormalization": _batch_norm,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": _flat,
    "Flip": _flipped,
    "GlobalAveragePooling2D": _global_pool("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pool("GlobalMaxPool"),
    "LayerNormalization": _layer_norm,
    "MaxPooling2D": _pool("MaxPool"),
    "Normalization": _normalised,
    "ReLU": _rectified,
    "Rescaling": _rescaled,
    "Reshape": _reshaped,
    "SeparableConv2D": _separable,
    "SpatialDropout2D": _same,
    "ZeroPadding2D": _padded,
}
KINDS = frozenset({"InputLayer", *_SINGLE, *_JOINING})
