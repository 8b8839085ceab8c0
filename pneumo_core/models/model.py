"""Keras models from specs.

They take raw pixels (0 to 255, uint8 or float), normalise them inside, and end in one float32 sigmoid score
named "score" above a linear layer named "logit". They are made of stock Keras layers, so
`keras.models.load_model(safe_mode=True)` reads them without this package.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import TypeAlias

import keras
from keras import layers

from pneumo_core.models import backbones, head, stored
from pneumo_core.specs import BackboneSpec, CnnSpec, DataSpec, DenseSpec, KerasTunerSpec, ModelSpec, Precision

Tensor: TypeAlias = keras.KerasTensor


def input_shape(spec: ModelSpec, data: DataSpec) -> tuple[int, ...]:
    """Return the shape of one image as the model takes it: flat for a dense model."""
    return (math.prod(data.shape),) if isinstance(spec, DenseSpec) else data.shape


def build(spec: ModelSpec, shape: tuple[int, int, int], precision: Precision = "float32") -> keras.Model:
    """Return an untrained model for images of `shape` (h, w, c), its weights drawn from the global seed.

    Weights and score are float32 under every `precision`. Raises `ValueError` when the images are too small for
    the blocks, `DataError` when pretrained weights are unavailable.
    """
    with _policy(precision):
        if isinstance(spec, BackboneSpec):
            return backbones.build(spec, shape)
        if isinstance(spec, KerasTunerSpec):
            return stored.build(spec, shape)
        return _dense(spec, shape) if isinstance(spec, DenseSpec) else _cnn(spec, shape)


def in_float32(network: keras.Model) -> keras.Model:
    """Return `network` computing in float32 with the same weights, as it is saved; itself where it does already.

    A saved model then scores alike on every machine, and other formats can hold it.
    """
    text: str = network.to_json()
    if "bfloat16" not in text:
        return network
    for name in ("mixed_bfloat16", "bfloat16"):
        text = text.replace(f'"{name}"', '"float32"')
    exact = keras.models.model_from_json(text)
    for copy, weight in zip(exact.weights, network.weights, strict=True):
        copy.assign(keras.ops.convert_to_tensor(weight))
    return exact


@contextlib.contextmanager
def _policy(precision: Precision) -> Iterator[None]:
    """Build layers under `precision`, and leave the global policy as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _dense(spec: DenseSpec, shape: tuple[int, int, int]) -> keras.Model:
    pixels = head.pixels_in((math.prod(shape),))  # (b, h * w * c)
    return head.scored(spec, pixels, head.hidden(spec, head.centred(pixels), spec.normalization))


def _cnn(spec: CnnSpec, shape: tuple[int, int, int]) -> keras.Model:
    check_blocks(len(spec.filters), shape)
    pixels = head.pixels_in(shape)  # (b, h, w, c)
    maps = head.centred(pixels)
    for i, filters in enumerate(spec.filters, start=1):
        maps = _block(spec, maps, filters, f"block{i}")  # (b, h / 2**i, w / 2**i, filters)
    return head.scored(spec, pixels, head.hidden(spec, head.gathered(spec.head, maps)))


def check_blocks(n_blocks: int, shape: tuple[int, int, int]) -> None:
    """Raise `ValueError` when halving images of `shape` `n_blocks` times leaves less than a pixel."""
    largest = int(math.log2(min(shape[:2])))
    if n_blocks > largest:
        raise ValueError(
            f"`filters` must have at most {largest} entries for images of {shape[0]}×{shape[1]} px, got {n_blocks}: "
            "each halves the image; use fewer, or larger images"
        )


def _block(spec: CnnSpec, maps: Tensor, filters: int, name: str) -> Tensor:
    """Stack the convolutions of one block and halve its maps, around a shortcut where `spec.residual`."""
    start, last = maps, spec.convolutions_per_block
    for j in range(1, last + 1):
        stride = 2 if spec.pooling == "stride" and j == 1 else 1
        maps = _convolution(spec, maps, filters, spec.kernel_px, stride, f"{name}_conv{j}")
        maps = head.normalized(spec.normalization, maps, f"{name}_conv{j}")
        if j < last:
            maps = layers.Activation(spec.activation, name=f"{name}_conv{j}_{spec.activation}")(maps)
    if spec.residual:
        shortcut = _shortcut(spec, start, filters, name)
        maps = layers.Add(name=f"{name}_add")([maps, shortcut])
    return _pooled(spec, maps, name)


def _pooled(spec: CnnSpec, maps: Tensor, name: str) -> Tensor:
    """Activate and pool. ReLU, ELU and tanh rise throughout, so they commute with the maximum and go after it:
    the same values and gradients from a quarter of the work.
    """
    activate = layers.Activation(spec.activation, name=f"{name}_{spec.activation}")
    if spec.pooling == "stride":
        return activate(maps)
    pool = layers.MaxPooling2D if spec.pooling == "max" else layers.AveragePooling2D
    if spec.pooling == "max" and spec.activation in ("relu", "elu", "tanh"):
        return activate(pool(2, name=f"{name}_pool")(maps))
    return pool(2, name=f"{name}_pool")(activate(maps))


def _shortcut(spec: CnnSpec, start: Tensor, filters: int, name: str) -> Tensor:
    """Return `start` itself where its shape fits, else its 1×1 projection (He et al. 2016, option B)."""
    stride = 2 if spec.pooling == "stride" else 1
    if stride == 1 and start.shape[-1] == filters:
        return start
    return _convolution(spec, start, filters, 1, stride, f"{name}_shortcut")


def _convolution(spec: CnnSpec, maps: Tensor, filters: int, kernel_px: int, stride: int, name: str) -> Tensor:
    """Convolve, with a stride of 1 or 2.

    A 1×1 kernel averages 2×2 pixels before it rather than skip three of four (He et al. 2019, "Bag of Tricks",
    ResNet-D). It must: the gradient of a strided 1×1 kernel overwrites foreign memory in TensorFlow 2.21 with
    oneDNN on AVX-512, and the process dies some steps later.
    """
    if kernel_px == 1 and stride == 2:
        maps, stride = layers.AveragePooling2D(2, padding="same", name=f"{name}_halve")(maps), 1
    convolution = layers.Conv2D(
        filters,
        kernel_px,
        strides=stride,
        padding="same",
        use_bias=spec.normalization != "batch",  # its own offset takes the place of the bias
        kernel_initializer=head.initializer(spec),
        kernel_regularizer=head.regularizer(spec),
        name=name,
    )
    return convolution(maps)
