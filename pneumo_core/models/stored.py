"""Networks that travel as data: packed into a short text, and built from it without the code that made them."""

import base64
import binascii
import bz2
import json

import keras

from pneumo_core import codec
from pneumo_core.models import published_weights, stock, strided
from pneumo_core.specs import KerasTunerSpec

MAX_BYTES = 64 * 2**20  # of a description; the largest ResNet's has half a million


def pack(model: keras.Model) -> str:
    """Return the description of `model` without its weights, compressed: some 2 to 6 kB.

    With bzip2, since the text names the trial and must be the same everywhere: the output of deflate changes with
    the library behind it. Raises `ValueError` for layers that aren't Keras' own.
    """
    description = json.loads(model.to_json())
    _check_stock(description)
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return base64.b85encode(bz2.compress(text.encode())).decode()


def build(spec: KerasTunerSpec, shape: tuple[int, int, int]) -> keras.Model:
    """Return the network of `spec`, its weights random but for those that Keras publishes; see `model.build`.

    Raises `DataError` for published weights that are missing, `ValueError` for images of another shape, for a text that
    describes no network, and for layers that aren't Keras' own, before any of them is made.
    """
    description = _unpack(spec.network)
    _check_stock(description)
    model = keras.models.model_from_json(json.dumps(description))
    if model.input_shape[1:] != tuple(shape):
        raise ValueError(f"the network of {spec.name!r} takes images of {model.input_shape[1:]}, got {tuple(shape)}")
    for found in spec.pretrained:
        published_weights.load(model, found)
    return strided.without_strided_1x1(model)


def _check_stock(description: object) -> None:
    if (foreign := stock.foreign_class(description)) is not None:
        raise ValueError(
            f"the model has {foreign}, which isn't a plain Keras layer: nothing could load it without its code; "
            "build it of Keras' own layers"
        )
    if (size := stock.excessive_size(description)) is not None:
        raise ValueError(f"the model has a layer with a size of {size}: no network needs that")


def _unpack(text: str) -> object:
    try:
        unpacker = bz2.BZ2Decompressor()
        content = unpacker.decompress(base64.b85decode(text), MAX_BYTES)
        if not unpacker.eof:
            raise ValueError(f"it is cut short, or has more than {MAX_BYTES} bytes")
        return codec.parse(content)
    except (ValueError, OSError, EOFError, binascii.Error) as error:
        raise ValueError(f"`network` must be a packed description of a Keras model: {error}") from error
