"""Networks run forward on the fastest engine at hand: ONNX Runtime where it knows all layers, Keras elsewhere.

On processors with AVX2 ONNX Runtime scores an EfficientNet-Lite0 several times as fast as TensorFlow
(`docs/performance.md`). Both give the same scores to 1e-5.
"""

import contextlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pneumo_core.models import described, onnx_graph
from pneumo_core.models.described import Described, Undescribed
from pneumo_core.models.onnx_writer import INPUT, OUTPUT
from pneumo_core.parallel import n_cores
from pneumo_core.scoring.metrics import Floats
from pneumo_core.specs import DataSpec

if TYPE_CHECKING:
    import keras

Pixels = npt.NDArray[np.uint8]
Outputs = npt.NDArray[np.float32]

BATCH = 32  # images run at once by ONNX Runtime, whose speed larger ones don't raise
KERAS_BATCH = 256  # by Keras, fewer where they are large:
KERAS_BATCH_BYTES = 4 * 2**20  # of pixels; their feature maps fill some hundred MB


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A network ready to run."""

    name: str  # of what runs it, with its version
    input_shape: tuple[int, ...]  # of one image; a dense network takes it flat
    output_shape: tuple[int, ...]
    run: Callable[[Pixels], Outputs]  # images (n, *input_shape) to (n, *output_shape), n at least 1

    def outputs(self, x: Pixels) -> Outputs:
        """Return what the network gives for images `x` (n, h, w, c)."""
        if not len(x):
            return np.zeros((0, *self.output_shape), np.float32)
        return self.run(x.reshape(len(x), *self.input_shape))

    def scores(self, x: Pixels) -> Floats:
        """Return the scores (n,) in [0, 1] of images `x` (n, h, w, c)."""
        return self.outputs(x)[:, 0].astype(np.float64)


def of_model(model: "keras.Model") -> Engine:
    """Return the fastest engine for `model` with its present weights; on an accelerator that is Keras."""
    if _suits_onnx_runtime(model):
        with contextlib.suppress(Undescribed):
            return _with_onnx_runtime(described.of_model(model))
    return with_keras(model)


def name_for(model: "keras.Model") -> str:
    """Return the name of the engine that `of_model` makes, without making it."""
    return _onnx_runtime_name() if _suits_onnx_runtime(model) else _keras_name()


def of_file(file: Path, data: DataSpec | None = None) -> Engine:
    """Return the fastest engine for the network in a `.keras` file, for images of `data` where given.

    Keras is loaded only where it must be. Raises `BundleError` as `network.load` does.
    """
    found = without_keras(file)
    if found is not None and (data is None or (found.input_shape in data.input_shapes and found.output_shape == (1,))):
        return found
    from pneumo_core.models import network

    return with_keras(network.load(file, data))


def without_keras(file: Path) -> Engine | None:
    """Return ONNX Runtime with the network in a `.keras` file; None where it is missing or doesn't know all layers."""
    if _has_onnx_runtime():
        with contextlib.suppress(Undescribed):
            return _with_onnx_runtime(described.of_file(file))
    return None


def with_keras(model: "keras.Model") -> Engine:
    """Return Keras itself as the engine, in batches of one size so that nothing is traced twice."""

    def run(x: Pixels) -> Outputs:
        size = max(1, min(KERAS_BATCH, KERAS_BATCH_BYTES // x[0].nbytes, 1 << (len(x) - 1).bit_length()))
        filled = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
        parts = [np.asarray(model.predict_on_batch(part)) for part in np.split(filled, len(filled) // size)]
        return np.concatenate(parts)[: len(x)]

    return Engine(name=_keras_name(), input_shape=model.input_shape[1:], output_shape=model.output_shape[1:], run=run)


def _with_onnx_runtime(network: Described) -> Engine:
    import onnxruntime

    graph = onnx_graph.encode(network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other threads decode meanwhile
    try:
        session = onnxruntime.InferenceSession(graph.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own, for a graph whose weights don't fit
        raise Undescribed(f"ONNX Runtime refuses the network: {error}") from error

    def run(x: Pixels) -> Outputs:
        starts = range(0, len(x), BATCH)
        return np.concatenate([session.run([OUTPUT], {INPUT: x[start : start + BATCH]})[0] for start in starts])

    return Engine(name=_onnx_runtime_name(), input_shape=graph.input_shape, output_shape=graph.output_shape, run=run)


def _onnx_runtime_name() -> str:
    return f"onnxruntime {metadata.version('onnxruntime')}"


def _keras_name() -> str:
    import keras

    return f"keras {keras.__version__} on {keras.backend.backend()}"


def _suits_onnx_runtime(model: "keras.Model") -> bool:
    """Return whether the runtime is there, knows all layers of `model`, and is the faster one."""
    operations = getattr(model, "operations", model.layers)  # a chain has layers only
    kinds = {(type(operation).__module__.split(".")[2], type(operation).__name__) for operation in operations}
    known = all(kind in onnx_graph.KINDS and (of == "layers" or kind == "Flip") for of, kind in kinds)
    exact = all(layer.dtype_policy.name == "float32" for layer in model.layers)
    return known and exact and _has_onnx_runtime() and not _has_accelerator()


def _has_onnx_runtime() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def _has_accelerator() -> bool:
    """Return whether this process, which has loaded Keras, computes on something faster than the CPU."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
