"""Where in an image the evidence for the positive class was, as the network itself weighs it.

Networks with convolutions: HiResCAM (Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations
of convolutional neural networks") at the last feature maps: activation × gradient of the logit, summed over channels.
Where the maps are averaged before the output it equals Grad-CAM (Selvaraju et al. 2017); where they are flattened,
Grad-CAM would average gradients of different places and can point at the wrong one. Others: gradient × input about
mid-grey, the value that the network sees as 0, smoothed.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pneumo_core.models.network import as_input

Maps = npt.NDArray[np.float32]

SMOOTH = 0.03  # radius of the smoothing of a dense network's map, as a share of the image side
MID_GREY = 127.5
CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.Model,  # in some networks of others they are inside
)


def maps(model: keras.Model, x: npt.NDArray[np.uint8]) -> Maps:
    """Return the evidence in images `x` (n, h, w, c) as (n, h, w) in [0, 1], each scaled by its own largest value.

    An image without any evidence for the positive class has a map of zeros.
    """
    logit = model.get_layer("score").input
    last = _last_maps(model, logit)
    side = x.shape[1:3]
    if last is None:
        pixels = as_input(model, x).astype(np.float32)
        gradient = _gradient(keras.Model(model.input, logit), pixels)
        evidence = ((pixels - MID_GREY) * gradient).reshape(x.shape).sum(axis=-1)  # (n, h, w)
        radius = max(1.0, SMOOTH * side[0])
        return _scaled([_smoothed(image, radius) for image in np.maximum(evidence, 0)])
    features, rest = last
    found = _outputs(keras.Model(model.input, features), x.astype(np.float32))
    gradient = _gradient(rest, found)  # (n, h', w', channels)
    evidence = np.maximum((found * gradient).sum(axis=-1), 0)
    return _scaled([_resized(image, side) for image in evidence])


def overlay(image: npt.NDArray[np.uint8], evidence: Maps) -> Image.Image:
    """Return a grey image (h, w) under its evidence (h', w'), stretched over it: red is some, yellow is most."""
    height, width = image.shape
    heat = _resized(evidence, (height, width))[..., np.newaxis]  # (h, w, 1)
    colour = np.concatenate([np.full_like(heat, 255), 255 * heat, np.zeros_like(heat)], axis=-1)
    alpha = 0.6 * np.sqrt(np.clip(heat, 0, 1))
    mixed = (1 - alpha) * image[..., np.newaxis] + alpha * colour
    return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))


def _last_maps(model: keras.Model, logit: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.Model] | None:
    """Return the last feature maps (b, h, w, c) that all the rest sees, and that rest up to the logit; None without.

    Branches that only meet as vectors, each behind a pooling of its own, have no such maps.
    """
    layers = list(model.layers)
    first = next((i for i, layer in enumerate(layers) if isinstance(layer, CONVOLUTIONS)), len(layers))
    for layer in reversed(layers[first:]):
        try:
            if len(layer.output.shape) == 4:
                return layer.output, keras.Model(layer.output, logit)
        except (AttributeError, ValueError):  # several outputs, or another branch leads past them
            continue
    return None


def _outputs(model: keras.Model, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what `model` gives for `x`. JAX compiles it whole, not each operation by itself."""
    if keras.backend.backend() != "jax":
        return np.asarray(keras.ops.convert_to_numpy(model(x)))
    import jax

    return np.asarray(jax.jit(lambda groups, given: model.stateless_call(*groups, given)[0])(_variables(model), x))


def _gradient(model: keras.Model, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the gradient of the logits with respect to `x`, of its shape."""
    backend = {"tensorflow": _gradient_tensorflow, "jax": _gradient_jax}
    compute: Callable[[keras.Model, Any], Any] = backend[keras.backend.backend()]
    return np.asarray(compute(model, x), np.float32)


def _gradient_tensorflow(model: keras.Model, x: Any) -> Any:
    import tensorflow as tf

    tensor = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        logits = model(tensor, training=False)
    return tape.gradient(logits, tensor)


def _gradient_jax(model: keras.Model, x: Any) -> Any:
    import jax

    variables = _variables(model)
    return jax.grad(lambda given: model.stateless_call(*variables, given, training=False)[0].sum())(x)


def _variables(model: keras.Model) -> list[list[Any]]:
    """Return the values of the variables that are trained, and of those that are not."""
    return [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]


def _resized(image: npt.NDArray[Any], size: tuple[int, ...]) -> Maps:
    grey = Image.fromarray(np.asarray(image, np.float32))
    return np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def _smoothed(image: npt.NDArray[Any], radius: float) -> Maps:
    """Return the image blurred; Pillow blurs 8-bit pixels only, which is fine enough for a picture."""
    top = float(image.max()) or 1.0
    grey = Image.fromarray((255 * image / top).astype(np.uint8))
    return np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def _scaled(images: list[Maps]) -> Maps:
    return np.stack([image / top if (top := float(image.max())) > 0 else image for image in images])
