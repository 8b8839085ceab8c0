"""Weights files that Keras publishes, put into the layers of a network that were built with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
from keras import layers
from keras.src.legacy.saving import legacy_h5_format as h5_format

from pneumo_core.errors import DataError
from pneumo_core.models import pretrained
from pneumo_core.specs import PretrainedLayers


def weighted(model: keras.Model) -> tuple[str, ...]:
    """Return the names of the layers that have weights, in the order in which files have them."""
    return tuple(layer.name for layer in model.layers if h5_format._legacy_weights(layer))


def load(network: keras.Model, found: PretrainedLayers) -> None:
    """Give the layers of `network` that are among those of the file their weights.

    Raises `DataError` for a file that is missing, and for one that does not fit.
    """
    path = file_of(found.url, lambda: keras.utils.get_file(found.file, found.url, cache_subdir="models"))
    by_name = {layer.name: layer for layer in network.layers}
    try:
        for name, values in zip(found.layers, _values(path), strict=True):
            if name in by_name:
                _assign(by_name[name], values)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} can't be read as weights of {found.layers[0]!r} and what follows: {error}") from error


def file_of(url: str, fetch: Callable[[], Any]) -> Path:
    """Return the local file of published weights. Raises `DataError` saying where it was looked for, and the remedy."""
    name = url.rpartition("/")[2]
    if (found := pretrained.local_file(name)) is not None:
        return found
    if not pretrained.obtainable(name):
        raise pretrained.missing(name, name, f"{pretrained.DOWNLOAD_HOST} doesn't answer")
    try:
        return Path(fetch())
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise pretrained.missing(name, name, f"the download failed ({error})") from error


def _values(path: Path) -> list[list[Any]]:
    """Return the arrays of each layer that has some."""
    with h5py.File(path, "r") as file:
        group = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
        names = h5_format.load_attributes_from_hdf5_group(group, "layer_names")
        read = [h5_format.load_subset_weights_from_hdf5_group(group[name]) for name in names]
    return [values for values in read if values]


def _assign(layer: keras.Layer, values: list[Any]) -> None:
    for variable, value in zip(h5_format._legacy_weights(layer), values, strict=True):
        variable.assign(value)
    if isinstance(layer, layers.Normalization):
        layer.finalize_state()  # it computes with copies of its weights
