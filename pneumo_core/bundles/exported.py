"""Exported models: what each format is, what an export says of itself, and how to run one. Keras is not needed here.

Whatever the format, an export takes raw pixels, float32 from 0 to 255, (n, h, w, c), one input for each preprocessing
of its bundle, and gives `score` (n, 1). A JSON text inside, `pneumo`, says how the pixels are made, which score means
ill, and what that promise rests on: ONNX keeps it in `metadata_props`, a TFLite file as an associated file (a zip
archive behind the model, which interpreters ignore), a SavedModel in `assets.extra/`.
"""

import importlib.util
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pneumo_core import codec
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.bundles.formats import NEEDS, Format
from pneumo_core.data.rows import PAD_VALUE, decoding
from pneumo_core.errors import BundleError, StorageError, UserError
from pneumo_core.scoring.metrics import Floats
from pneumo_core.specs import DataSpec

Pixels = Sequence[npt.NDArray[np.uint8]]
"""Images for each input, (n, h, w, c) each."""
Runner = Callable[[Pixels], Floats]
"""From pixels to scores (n,)."""

FORMAT = 1  # of the metadata
KEY, SIDE_FILE = "pneumo", "pneumo.json"
SCORE = "score"


def check_free(path: Path) -> None:
    """Raise `StorageError` where there is something at `path`."""
    if path.exists():
        raise StorageError(f"`{path}` is there already, and an export never overwrites; choose another --out")


def check_packages(target: Format) -> None:
    """Raise `UserError` unless what writes and runs `target` is installed."""
    missing = [name for name in NEEDS[target] if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{target} needs {', '.join(missing)}, not installed here: pip install 'pneumo-search[{target}]'"
        )


def input_names(specs: Sequence[DataSpec]) -> list[str]:
    """Return the names of an export's inputs, one for each preprocessing."""
    return ["pixels"] if len(specs) == 1 else [f"pixels_{i}" for i in range(1, len(specs) + 1)]


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return the metadata of an export of `bundle`, JSON-native."""
    specs = list(dict.fromkeys(member.data for member in bundle.members))
    return {
        "format": FORMAT,
        "inputs": [_input(name, spec) for name, spec in zip(input_names(specs), specs, strict=True)],
        "output": {"name": SCORE, "shape": [None, 1], "range": [0, 1], "high_means": bundle.positive},
        "decision": {
            "threshold": bundle.threshold,
            "rule": f"{bundle.positive} if score >= threshold, else {bundle.negative}",
            "positive": bundle.positive,
            "negative": bundle.negative,
        },
        "guarantee": {
            "unit": bundle.guarantee,
            "fnr_ceiling": bundle.ceiling,
            "confidence": bundle.confidence,
            "calibration": codec.to_json(bundle.calibration),
        },
        "bundle": {
            "study": bundle.study,
            "finalize_id": bundle.finalize_id,
            "frozen": bundle.frozen,
            "created": bundle.created,
            "n_networks": len(bundle.members),
            "preprocessing_version": bundle.preprocessing_version,
        },
    }


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what an export says of itself. Raises `BundleError` for a file that isn't one."""
    try:
        found = json.loads(_TEXTS[format_of(path)](path))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"`{path}` is not an export of this program: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BundleError(f"`{path}` is an export of another format than {FORMAT}, which this program reads")
    return found


def format_of(path: Path) -> Format:
    """Return the format of an export, by its content."""
    if path.is_dir():
        return "saved_model"
    return "tflite" if zipfile.is_zipfile(path) else "onnx"


def runner(path: Path, *, n_threads: int = 1) -> Runner:
    """Return the function that runs an export in its own runtime; that of a SavedModel is TensorFlow."""
    names = [entry["name"] for entry in read_metadata(path)["inputs"]]
    return _RUNNERS[format_of(path)](path, names, n_threads)


def _input(name: str, spec: DataSpec) -> dict[str, Any]:
    side = spec.image_size_px
    aspect = (
        "squashed to the square"
        if spec.resize == "squash"
        else f"its longer side to {side} px, its aspect ratio kept, centred, the rest {PAD_VALUE}"
    )
    steps = (
        f"decode to {'8-bit grey' if spec.channels == 1 else '8-bit RGB'}; large JPEGs may be decoded at a fraction of "
        f"their size that is at least {decoding(spec)[1]} px",
        f"resize with an antialiasing bilinear filter (Pillow's BILINEAR), {aspect}",
        "give the values 0 to 255 as float32: the network scales them itself",
    )
    return {"name": name, "shape": [None, *spec.shape], "dtype": "float32", **codec.to_json(spec), "steps": [*steps]}


def _onnx_text(path: Path) -> str:
    check_packages("onnx")
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own
        raise ValueError(f"not an ONNX model ({type(error).__name__})") from error
    return {entry.key: str(entry.value) for entry in model.metadata_props}[KEY]


def _tflite_text(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(SIDE_FILE).decode()


def _saved_model_text(path: Path) -> str:
    return (path / "assets.extra" / SIDE_FILE).read_text("utf-8")


def _run_onnx(path: Path, names: list[str], n_threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels) -> Floats:
        return _flat(session.run([SCORE], _feed(names, pixels))[0])

    return run


def _run_tflite(path: Path, names: list[str], n_threads: int) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=n_threads)
    signature = interpreter.get_signature_runner("serving_default")
    [output] = signature.get_output_details()

    def run(pixels: Pixels) -> Floats:
        return _flat(signature(**_feed(names, pixels))[output])

    return run


def _run_saved_model(path: Path, names: list[str], n_threads: int) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def run(pixels: Pixels) -> Floats:
        assert loaded is not None  # it owns the variables that the signature reads
        found = signature(**{name: tf.constant(x) for name, x in _feed(names, pixels).items()})
        return _flat(next(iter(found.values())).numpy())

    return run


def _feed(names: list[str], pixels: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    return {name: np.asarray(x, np.float32) for name, x in zip(names, pixels, strict=True)}


def _flat(scores: npt.NDArray[np.float32]) -> Floats:
    return np.asarray(scores, np.float64).reshape(-1)


_TEXTS: Mapping[Format, Callable[[Path], str]] = {
    "onnx": _onnx_text,
    "tflite": _tflite_text,
    "saved_model": _saved_model_text,
}
_RUNNERS: Mapping[Format, Callable[[Path, list[str], int], Runner]] = {
    "onnx": _run_onnx,
    "tflite": _run_tflite,
    "saved_model": _run_saved_model,
}
