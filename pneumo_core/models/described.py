"""What a network computes, as data: its layers with settings, weights and inputs, from a model or a `.keras` file.

Reading a file this way needs no Keras, whose import takes seconds, and runs nothing that is in it.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pneumo_core import codec
from pneumo_core.models.archive import most_bytes

if TYPE_CHECKING:
    import keras

WEIGHTS = "model.weights.h5"  # in a `.keras` file
MAX_CONFIG_BYTES = 64 * 2**20

Weights = tuple[npt.NDArray[np.float32], ...]


class Undescribed(Exception):
    """The network has something that isn't known here; Keras itself may know it."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, called once."""

    kind: str  # its class in Keras
    name: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]  # names of the layers whose outputs it takes
    weights: Weights  # in Keras' order


@dataclass(frozen=True, kw_only=True)
class Described:
    """A network from one input to one output; each layer comes after its inputs."""

    layers: tuple[Layer, ...]
    output: str


def of_model(model: "keras.Model") -> Described:
    """Return the description of `model`. Raises `Undescribed` for what isn't a plain chain or graph of layers."""
    try:
        config = model.get_config()
    except NotImplementedError as error:
        raise Undescribed("it is not made of layers") from error
    by_name = {layer.name: tuple(np.asarray(value) for value in layer.get_weights()) for layer in model.layers}
    return _described(config, [by_name.get(entry.get("config", {}).get("name"), ()) for entry in _entries(config)])


def of_file(file: Path) -> Described:
    """Return the description of the network in a `.keras` file. Raises `Undescribed` as `of_model`, for any file."""
    import h5py

    try:
        with zipfile.ZipFile(file) as archive:
            config = codec.parse(_read(archive, "config.json", MAX_CONFIG_BYTES))["config"]
            content = io.BytesIO(_read(archive, WEIGHTS, most_bytes(file)))
        with h5py.File(content, "r") as stored:
            return _described(config, list(_stored_weights(stored, _entries(config), file.stat().st_size)))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise Undescribed(f"`{file}` is not a plain Keras model: {error}") from error


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise Undescribed(f"`{name}` has more than {limit} bytes")
    return archive.read(name)


def _entries(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise Undescribed("it has no list of layers")
    found: Sequence[Mapping[str, Any]] = config["layers"]
    return found


def _stored_weights(stored: Any, entries: Sequence[Mapping[str, Any]], n_bytes: int) -> Iterator[Weights]:
    """Yield the weights of each layer. Keras stores them under the layer's class, numbered in order."""
    counts: Counter[str] = Counter()
    left = n_bytes  # a weight takes a byte or more: a file may claim more than it holds
    for entry in entries:
        if entry["module"] != "keras.layers":  # an operation, which has none
            yield ()
            continue
        kind = _snake(entry["class_name"])
        name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        kept = stored.get(f"layers/{name}/vars", {})
        left -= sum(int(kept[key].size) for key in kept)
        if left < 0:
            raise Undescribed(f"it claims more weights than its {n_bytes} bytes can hold")
        yield tuple(np.asarray(kept[str(i)], np.float32) for i in range(len(kept)))


def _snake(name: str) -> str:
    """Return a class name as Keras' own `to_snake_case` writes it."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _described(config: Mapping[str, Any], weights: Sequence[Weights]) -> Described:
    entries = _entries(config)
    inputs: list[tuple[str, ...]]
    if "output_layers" in config:
        inputs = [_inputs(entry) for entry in entries]
        output = _only_output(config["output_layers"])
    else:  # a chain
        names = [str(entry["config"]["name"]) for entry in entries]
        inputs, output = [(), *((name,) for name in names[:-1])], names[-1]
    layers = tuple(_layer(*parts) for parts in zip(entries, inputs, weights, strict=True))
    return Described(layers=layers, output=output)


def _layer(entry: Mapping[str, Any], inputs: tuple[str, ...], weights: Weights) -> Layer:
    kind, config = entry["class_name"], entry["config"]
    if entry["module"] != "keras.layers" and kind != "Flip":
        raise Undescribed(f"{entry['module']}.{kind} is not a plain layer")
    policy = config.get("dtype", "float32")
    name = policy["config"]["name"] if isinstance(policy, dict) else policy
    if name != "float32":
        raise Undescribed(f"`{config['name']}` computes in {name}")
    size = config.get("units", config.get("filters"))
    sized = weights[1:] if kind == "SeparableConv2D" else weights  # its first is a filter for each channel it takes
    if size is not None and any(weight.shape[-1:] != (size,) for weight in sized):
        raise Undescribed(f"`{config['name']}` has weights of another size than {size}")
    return Layer(kind=kind, name=config["name"], config=config, inputs=inputs, weights=weights)


def _inputs(entry: Mapping[str, Any]) -> tuple[str, ...]:
    calls = entry["inbound_nodes"]
    if entry["class_name"] == "InputLayer":
        return ()
    if len(calls) != 1:
        raise Undescribed(f"`{entry['config']['name']}` is called {len(calls)} times")
    [call] = calls
    if any(call["kwargs"].get(name) for name in call["kwargs"] if name not in ("training", "mask")):
        raise Undescribed(f"`{entry['config']['name']}` is called with more than tensors")
    return tuple(_sources(call["args"]))


def _sources(argument: Any) -> Iterator[str]:
    if isinstance(argument, list | tuple):
        for part in argument:
            yield from _sources(part)
    elif isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__":
        name, call, output = argument["config"]["keras_history"]
        if (call, output) != (0, 0):
            raise Undescribed(f"`{name}` is called several times, or has several outputs")
        yield name
    else:
        raise Undescribed(f"a layer is called with {type(argument).__name__}")


def _only_output(found: Any) -> str:
    while isinstance(found, list) and len(found) == 1:
        [found] = found
    if not (isinstance(found, list | tuple) and len(found) == 3 and isinstance(found[0], str) and found[1:] == [0, 0]):
        raise Undescribed("it has several outputs")
    return found[0]
