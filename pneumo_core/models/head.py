"""The parts that models share: input, hidden layers, and the end in one score."""

from typing import Literal, TypeAlias

import keras
from keras import layers

from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, Normalization

Tensor: TypeAlias = keras.KerasTensor
OwnSpec: TypeAlias = DenseSpec | CnnSpec | BackboneSpec  # models that are built here


def pixels_in(shape: tuple[int, ...]) -> Tensor:
    """Return the input of every model: raw pixels, 0 to 255; uint8 is cast inside, after its transfer."""
    return keras.Input(shape, dtype="float32", name="pixels")


def centred(pixels: Tensor) -> Tensor:
    """Scale raw pixels to [-1, 1]."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="centred")(pixels)


def regularizer(spec: OwnSpec) -> keras.Regularizer | None:
    return keras.regularizers.L2(spec.l2) if spec.l2 else None


def initializer(spec: OwnSpec) -> str:
    """He et al. 2015 for the rectifier family; Glorot & Bengio 2010 for tanh, as those papers derive them."""
    return "glorot_uniform" if spec.activation == "tanh" else "he_normal"


def normalized(kind: Normalization, x: Tensor, name: str) -> Tensor:
    if kind == "batch":
        return layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.LayerNormalization(name=f"{name}_norm")(x) if kind == "layer" else x


def hidden(spec: OwnSpec, x: Tensor, normalization: Normalization = "none") -> Tensor:
    """Stack the dense layers of `spec.units`, each with its dropout; without any, drop features instead."""
    for i, units in enumerate(spec.units, start=1):
        dense = layers.Dense(
            units,
            use_bias=normalization != "batch",  # its own offset takes the place of the bias
            kernel_initializer=initializer(spec),
            kernel_regularizer=regularizer(spec),
            name=f"dense{i}",
        )
        x = normalized(normalization, dense(x), f"dense{i}")  # (b, units)
        x = layers.Activation(spec.activation, name=f"dense{i}_{spec.activation}")(x)
        x = _dropped(spec, x, f"dense{i}_dropout")
    return x if spec.units else _dropped(spec, x, "dropout")


def gathered(kind: Literal["flatten", "average"], maps: Tensor) -> Tensor:
    """Turn feature maps (b, h, w, c) into features (b, h * w * c) or (b, c)."""
    if kind == "average":
        return layers.GlobalAveragePooling2D(name="features")(maps)
    return layers.Flatten(name="features")(maps)


def scored(spec: OwnSpec, pixels: Tensor, features: Tensor) -> keras.Model:
    """End the model in a linear "logit" and its sigmoid "score", float32 even under mixed precision."""
    # Small random weights would start confident on thousands of unscaled features; zeros start at 0.5 exactly.
    logit = layers.Dense(
        1, kernel_initializer="zeros", kernel_regularizer=regularizer(spec), dtype="float32", name="logit"
    )
    score = layers.Activation("sigmoid", dtype="float32", name="score")
    return keras.Model(pixels, score(logit(features)), name=spec.kind)


def _dropped(spec: OwnSpec, x: Tensor, name: str) -> Tensor:
    return layers.Dropout(spec.dropout, name=name)(x) if spec.dropout else x
