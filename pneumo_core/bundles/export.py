"""Writes a bundle's networks as one graph that other programs run, and checks that it gives the same scores.

Needs TensorFlow as the backend: all three formats are made from its traced function.
"""

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from pneumo_core.bundles import exported
from pneumo_core.bundles.exported import KEY, SCORE, SIDE_FILE
from pneumo_core.bundles.formats import Format
from pneumo_core.bundles.predictor import Arrays, Predictor
from pneumo_core.data import phantom
from pneumo_core.errors import PneumoError
from pneumo_core.files import storage_errors
from pneumo_core.scoring.average import LEAST
from pneumo_core.specs import DataSpec

TOLERANCE = 1e-4  # of a score; other kernels add in another order
N_CHECKED = 8  # images
KERAS_FORMATS = {"onnx": "onnx", "tflite": "litert", "saved_model": "tf_saved_model"}


@dataclass(frozen=True, kw_only=True)
class Export:
    """A written export."""

    path: str
    format: Format
    n_bytes: int
    largest_difference: float  # between its scores and the bundle's, over generated images


def write(predictor: Predictor, target: Format, path: Path) -> Export:
    """Write the bundle in format `target` to `path`, whole or not at all.

    Raises `StorageError` where something is there or can't be written, `UserError` without the packages, and
    `PneumoError` when the export, run in its own runtime, gives other scores than the bundle by more than `TOLERANCE`.
    """
    exported.check_free(path)
    exported.check_packages(target)
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            made = Path(folder) / f"export.{target}"  # the converter to TFLite insists on the suffix
            _convert(graph(predictor), target, made)
            _add_metadata(made, target, json.dumps(exported.describe(predictor.bundle), allow_nan=False))
            difference = _largest_difference(predictor, made)
            os.rename(made, path)
    return Export(path=str(path), format=target, n_bytes=_n_bytes(path), largest_difference=difference)


def graph(predictor: Predictor) -> keras.Model:
    """Return one model from the pixels of each preprocessing, (n, h, w, c), to the bundle's score, (n, 1)."""
    specs = predictor.data_specs
    names = exported.input_names(specs)
    inputs = {spec: keras.Input(spec.shape, name=name) for spec, name in zip(specs, names, strict=True)}
    outputs = []
    for position, (member, model) in enumerate(zip(predictor.bundle.members, predictor.models, strict=True), start=1):
        model.name = f"network_{position}"
        pixels = inputs[member.data]
        is_flat = len(model.input_shape) == 2
        pixels = layers.Flatten(name=f"flat_{position}")(pixels) if is_flat else pixels
        outputs.append((model if len(predictor.models) == 1 else logit_of(model))(pixels, training=False))
    several = len(outputs) > 1
    score = layers.Activation("sigmoid", name=SCORE)(layers.Average(name="logit")(outputs)) if several else outputs[0]
    return keras.Model(list(inputs.values()), {SCORE: score}, name=KEY)


def logit_of(model: keras.Model) -> keras.Model:
    """Return `model` without its last sigmoid: as one of several, whose logits are averaged.

    What ends otherwise (a network of others, in softmax) gets the logit of its score.
    """
    last = model.layers[-1]
    if isinstance(last, layers.Activation) and last.activation is keras.activations.sigmoid:
        return keras.Model(model.inputs, last.input, name=model.name)
    score = keras.ops.clip(model.output, LEAST, 1 - LEAST)
    return keras.Model(model.inputs, keras.ops.log(score) - keras.ops.log1p(-score), name=model.name)


def _convert(model: keras.Model, target: Format, path: Path) -> None:
    signature = [keras.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    try:
        model.export(str(path), format=KERAS_FORMATS[target], input_signature=[signature], verbose=False)
    except Exception as error:  # converters raise whatever an operation that they don't know leads to
        raise PneumoError(f"the networks can't be converted to {target}: {type(error).__name__}: {error}") from error


def _add_metadata(path: Path, target: Format, text: str) -> None:
    if target == "onnx":
        _add_to_onnx(path, text)
    elif target == "tflite":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(SIDE_FILE, text)
    else:
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / SIDE_FILE).write_text(text, "utf-8")


def _add_to_onnx(path: Path, text: str) -> None:
    """Put the metadata into the model, and give batch and output the names that they are documented with."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: text})
    [output] = model.graph.output
    for node in model.graph.node:
        node.output[:] = [SCORE if name == output.name else name for name in node.output]
        node.input[:] = [SCORE if name == output.name else name for name in node.input]
    output.name = SCORE
    for value in (*model.graph.input, output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _largest_difference(predictor: Predictor, path: Path) -> float:
    images = [_phantom(predictor.data_specs, i) for i in range(N_CHECKED)]
    run = exported.runner(path)
    found = run([np.stack([image[i] for image in images]) for i in range(len(predictor.data_specs))])
    difference = float(np.abs(found - predictor.scores(images)).max())
    if not difference <= TOLERANCE:
        raise PneumoError(f"the export's scores differ from the bundle's by up to {difference:g}; nothing was written")
    return difference


def _phantom(specs: tuple[DataSpec, ...], index: int) -> Arrays:
    def pixels(spec: DataSpec) -> npt.NDArray[np.uint8]:
        grey = phantom.draw((index,), (index,), bool(index % 2), spec.image_size_px)
        return np.repeat(grey[:, :, np.newaxis], spec.channels, axis=2)

    return tuple(pixels(spec) for spec in specs)


def _n_bytes(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )
