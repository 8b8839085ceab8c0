"""Saved networks: read without running anything that is in the file but stock Keras layers."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from pneumo_core import codec
from pneumo_core.errors import BundleError
from pneumo_core.models import archive, stock
from pneumo_core.specs import DataSpec

MAX_CONFIG_BYTES = 64 * 2**20  # of a description


def load(file: Path, data: DataSpec | None = None) -> keras.Model:
    """Return the model in a `.keras` file, for images of `data` where given.

    Raises `BundleError` for anything else: another format, a damaged file, layers that aren't Keras' own (so that
    nothing in the file runs code of its own), other inputs, or another output than one score an image.
    """
    _check_config(file)
    _check_weights(file)
    try:
        with stock.at_most(file.stat().st_size):  # a weight takes a byte or more
            model = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged file leads to
        raise BundleError(f"`{file}` can't be read as a Keras model: {_first_line(error)}") from error
    if stock.largest_map(model) > stock.LARGEST_MAP:
        raise BundleError(f"`{file}` makes {stock.largest_map(model)} values of one image; no network needs so many")
    if data is not None:
        _check_shapes(file, model, data)
    return model


def as_input(model: keras.Model, x: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return images (n, h, w, c) as `model` takes them: flat for a dense one."""
    return x.reshape(len(x), -1) if len(model.input_shape) == 2 else x


def _check_config(file: Path) -> None:
    """Refuse a file that isn't a Keras 3 archive, or whose layers aren't all Keras' own, before Keras opens it."""
    try:
        with zipfile.ZipFile(file) as packed:
            if packed.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                raise BundleError(f"`{file}` has a description of more than {MAX_CONFIG_BYTES} bytes")
            config = codec.parse(packed.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"`{file}` isn't a Keras model (a `.keras` file of Keras 3)") from error
    if (foreign := stock.foreign_class(config)) is not None:
        raise BundleError(f"`{file}` uses {foreign}, which isn't a plain Keras layer; it isn't loaded")
    if (size := stock.excessive_size(config)) is not None:
        raise BundleError(f"`{file}` has a layer with a size of {size}; it isn't loaded")


def _check_weights(file: Path) -> None:
    """Refuse a file that holds less than it claims, before Keras makes room for that."""
    try:
        archive.check(file)
    except ValueError as error:
        raise BundleError(f"`{file}` isn't loaded: {error}") from error
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile):
        return  # damaged: Keras says how


def _check_shapes(file: Path, model: keras.Model, data: DataSpec) -> None:
    found = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if found[0] not in [(None, *shape) for shape in data.input_shapes] or found[1] != (None, 1):
        raise BundleError(
            f"`{file}` must take images of shape {data.shape} and give one score each, got a model with "
            f"input {found[0]} and output {found[1]}"
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else ''}"
