"""From a model as KerasTuner's users build it to one as this program trains it: raw pixels in, one score out.

Only the ends change. Sub-models and `Lambda` layers are replaced by what they are made of, so that stock Keras layers
and operations remain, which load anywhere without the code that built them.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
from keras import layers

from pneumo_core.models import head
from pneumo_core.specs import DataSpec
from pneumo_core.tuner.compiled import Loss

Tensor: TypeAlias = keras.KerasTensor
RESERVED = {"pixels", "colours", "scaled", "flat", "logit", "score"}
ENDINGS = (
    "it must end in one sigmoid or two softmax columns (negative, positive), or in one or two linear ones with a loss "
    "that says from_logits=True"
)


def image_spec(model: keras.Model, data: DataSpec | None) -> DataSpec:
    """Return what images the model takes: `data`, or what its own input says.

    Raises `ValueError` where it says too little, or something else than `data`.
    """
    if not model.built and isinstance(model, keras.Sequential):
        return data or DataSpec()
    shape = tuple(model.input_shape[1:]) if isinstance(model.input_shape, tuple) else ()
    if data is None:
        if len(shape) != 3 or shape[0] != shape[1] or None in shape:
            raise ValueError(f"the model takes {shape or model.input_shape}: say which images it gets with `data`")
        return DataSpec(image_size_px=shape[0], channels=shape[2])
    fits = shape == (math.prod(data.shape),) or (
        len(shape) == 3
        and all(has in (None, data.image_size_px) for has in shape[:2])
        and (shape[2] in (None, data.channels) or (shape[2], data.channels) == (3, 1))
    )
    if not fits:
        raise ValueError(
            f"the model takes {shape or model.input_shape}, but `data` gives images of {data.shape}: make them agree "
            "(a model of 3 channels may get grey images)"
        )
    return data


def check_graph(model: keras.Model) -> None:
    """Raise `ValueError` for a model whose layers can't be seen, or with several inputs or outputs."""
    if not model.built and isinstance(model, keras.Sequential):
        return
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ValueError(
            f"`build` returns a {type(model).__name__}, a subclass of keras.Model, whose layers can't be seen: build "
            "it of Keras' layers with keras.Sequential or keras.Model(inputs, outputs)"
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"the model must have one input and one output, got {len(inputs)} and {len(outputs)}")


def flat(model: keras.Model, data: DataSpec) -> keras.Model:
    """Return `model` as one graph of stock layers and operations.

    Raises `ValueError` for a model that isn't made of Keras' layers from one input to one output.
    """
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, *data.shape))
    check_graph(model)
    return _flattened(keras.Model(model.inputs[0], model.outputs[0]))


def translated(plain: keras.Model, data: DataSpec, pixels: tuple[float, ...], loss: Loss | None) -> keras.Model:
    """Return the network from raw pixels (b, h, w, c) to the score (b, 1); `pixels` is what 0 and 255 become first.

    `plain` is a flat graph. Weights are new where the last layer changes, and the model's own elsewhere. Raises
    `ValueError` for an output that is no probability of two classes.
    """
    if taken := RESERVED & {layer.name for layer in plain.layers if not isinstance(layer, layers.InputLayer)}:
        raise ValueError(f"the model has a layer named {min(taken)!r}, a name that is taken here: choose another")
    entry = head.pixels_in(data.shape)
    start = _prepared(entry, plain.input_shape[1:], pixels)
    last, kind = _last(plain, loss)

    def called(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda value: start if value is entry else value, (args, kwargs))
        return _linear(layer, *args, **kwargs) if layer is last else layer(*args, **kwargs)

    columns = keras.models.clone_model(plain, entry, clone_function=_same, call_function=called).output  # (b, 1 or 2)
    if kind == "two":  # the softmax of two logits is the sigmoid of their difference
        logit = layers.Subtract(dtype="float32", name="logit")([columns[:, 1:], columns[:, :1]])
    else:
        logit = layers.Activation("linear", dtype="float32", name="logit")(columns)
    score = layers.Activation("sigmoid", dtype="float32", name="score")(logit)
    return keras.Model(entry, score, name="keras_tuner")


@contextmanager
def assignments() -> Iterator[list[keras.Variable]]:
    """Yield the list of variables that are assigned a value inside, which a fresh network's never are."""
    found: list[keras.Variable] = []
    assign = keras.Variable.assign

    def noted(variable: keras.Variable, value: Any) -> Any:
        found.append(variable)
        return assign(variable, value)

    keras.Variable.assign = noted
    try:
        yield found
    finally:
        keras.Variable.assign = assign


def check_untouched(model: keras.Model, assigned: list[keras.Variable], published: list[keras.Variable]) -> None:
    """Raise `ValueError` when `build` gave the model weights that are not `published`: they would silently be lost."""
    ids = {id(variable) for variable in assigned} - {id(variable) for variable in published}
    for layer in model._flatten_layers(include_self=False):
        if any(id(weight) in ids for weight in layer.weights):
            raise ValueError(
                f"`build` gives layer {layer.name!r} weights of its own, but a trial begins with random ones, or with "
                "those that keras.applications publishes (weights='imagenet')"
            )


def _flattened(model: keras.Model) -> keras.Model:
    """Return `model` with its sub-models and `Lambda` layers replaced by the layers and operations they are made of."""

    def called(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, layers.Lambda):
            return _opened(layer, *args, **kwargs)
        return layer.call(*args, **kwargs) if isinstance(layer, keras.Model) else layer(*args, **kwargs)

    while any(isinstance(layer, keras.Model | layers.Lambda) for layer in model.layers):
        model = keras.models.clone_model(model, clone_function=_same, call_function=called)
    return model


def _opened(layer: layers.Lambda, *args: Any, **kwargs: Any) -> Any:
    """Return what a `Lambda` layer computes, as operations of Keras. Raises `ValueError` for other operations."""
    try:
        return layer.call(*args, **kwargs)
    except Exception as error:
        raise ValueError(
            f"layer {layer.name!r} is a Lambda of operations that are not Keras' own, such as TensorFlow's, which "
            f"can't be stored with the trial: write them with keras.ops, or use a layer of Keras ({_first(error)})"
        ) from error


def _prepared(pixels: Tensor, wanted: tuple[int | None, ...], ends: tuple[float, ...]) -> Tensor:
    """Return raw pixels (b, h, w, c) as the model wants them: in its range, and three times or flat."""
    low, high = ends
    if (low, high) != (0, 255):
        pixels = layers.Rescaling((high - low) / 255, offset=low, name="scaled")(pixels)
    if len(wanted) == 1:
        return layers.Flatten(name="flat")(pixels)
    if wanted[-1] == 3 and pixels.shape[-1] == 1:
        return layers.Concatenate(name="colours")([pixels, pixels, pixels])
    return pixels


def _last(model: keras.Model, loss: Loss | None) -> tuple[keras.Layer, str]:
    """Return the last layer, and whether it gives "one" or "two" columns."""
    columns = {(None, 1): "one", (None, 2): "two"}.get(tuple(model.output_shape))
    by_name = {layer.name: layer for layer in model.layers}
    layer = by_name.get(model.output_names[0])
    activation = _activation(layer)
    from_logits = loss is not None and loss.from_logits
    fits = {"one": activation == "sigmoid", "two": activation == "softmax"}.get(columns or "", False)
    if columns and layer is not None and (fits or (activation == "linear" and from_logits)):
        return layer, columns
    raise ValueError(
        f"the model ends in {activation or 'an operation'} of shape {tuple(model.output_shape)}"
        + (f" with the loss {loss.name}" if loss else "")
        + f": {ENDINGS}"
    )


def _activation(layer: keras.Layer | None) -> str | None:
    if layer is None:
        return None
    if isinstance(layer, layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def _linear(layer: keras.Layer, inputs: Tensor, **kwargs: Any) -> Tensor:
    """Call `layer` without its activation."""
    if isinstance(layer, layers.Activation | layers.Softmax):
        return inputs
    if _activation(layer) != "linear":
        layer = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    return layer(inputs, **kwargs)


def _same(layer: keras.Layer) -> keras.Layer:
    return layer


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
