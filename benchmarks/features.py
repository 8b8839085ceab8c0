"""What an epoch of a frozen EfficientNet-Lite0 costs on pixels and on its kept features, and what keeping them costs.

    python -m benchmarks.features FOLDER [--images 256] [--size 224] [--trainable-from stage-2] [--repeats 5]
                                         [--json FILE]

With `--trainable-from` the same of the frozen first part of a fine-tuned one. Takes `--images` images of a folder of
class folders, a quarter of them for validation. Epochs on pixels and on features are measured in turn, `--repeats` of
each, training and validation together, the first (tracing) epoch left out.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from benchmarks import measure
from pneumo_core.data import rows
from pneumo_core.data.preprocess import FitArrays, Origin
from pneumo_core.models import model
from pneumo_core.specs import BackboneSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import features, train
from pneumo_core.training.task import Task
from pneumo_core.training.trial import environment

FEATURE_EPOCHS = 20  # averaged, of a frozen network: a single one is too short on a busy machine


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds: of keeping the features once, and of epochs in turn."""

    one_off: float
    on_pixels: tuple[float, ...]
    on_features: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return float(np.median(self.on_pixels) / np.median(self.on_features))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--trainable-from", help="see `BackboneSpec`; by default the network is frozen")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = _images(asked.folder, asked.images, DataSpec(image_size_px=asked.size), Path(folder))
        model_spec = BackboneSpec(units=(64,), trainable_from=asked.trainable_from)
        measured = _measure(images, TrialSpec(model=model_spec, data=DataSpec(image_size_px=asked.size)), asked.repeats)
    print(_table(measured, len(images.x_train), len(images.x_validation)))
    if asked.json:
        facts = {**vars(measured), "ratio": measured.ratio, "environment": environment()}
        asked.json.write_text(json.dumps(facts, indent=1), "utf-8")


def _images(folder: Path, n_images: int, data: DataSpec, cache_dir: Path) -> FitArrays:
    classes = [sorted(place.iterdir()) for place in sorted(folder.iterdir()) if place.is_dir()]
    files = [(file, label) for label, of in enumerate(classes) for file in of[: n_images // len(classes)]]
    order = np.random.default_rng(0).permutation(len(files))
    x = np.stack([rows.of_file(files[i][0], [data])[0] for i in order])  # (n, h, w, 1)
    y = np.array([files[i][1] for i in order], np.uint8)
    return measure.divided(x, y, len(x) * 3 // 4, Origin(cache_dir=cache_dir, digest="benchmark"))


def _measure(images: FitArrays, spec: TrialSpec, n_repeats: int) -> Measured:
    keras.utils.set_random_seed(0)
    n_epochs = 1 if isinstance(spec.model, BackboneSpec) and spec.model.trainable_from else FEATURE_EPOCHS
    network = model.build(spec.model, images.x_train.shape[1:])
    start = time.perf_counter()
    cached, note = features.open_cached(features.split(network, spec.model), spec, images, environment())
    one_off = time.perf_counter() - start
    if cached is None:
        raise SystemExit(note)
    on_pixels, on_features = [], []
    for _ in range(n_repeats):
        on_pixels.append(_epoch_s(network, images, 1))
        on_features.append(_epoch_s(cached.rest, cached.arrays, n_epochs))
    return Measured(one_off=one_off, on_pixels=tuple(on_pixels), on_features=tuple(on_features))


def _epoch_s(network: keras.Model, arrays: FitArrays, n_epochs: int) -> float:
    """Return the mean seconds of `n_epochs` epochs after a first one, which traces."""
    task = Task(
        spec=TrainSpec(epochs=1 + n_epochs, patience=1 + n_epochs),
        objective=ObjectiveSpec(),
        arrays=arrays,
        seed=0,
        identity="benchmark",
        on_epoch=lambda epoch, metrics: False,
    )
    history = train.fit(network, task).state.history
    return float(np.mean([epoch["seconds"] for epoch in history[1:]]))


def _table(measured: Measured, n_train: int, n_validation: int) -> str:
    where = ", ".join(f"{name} {value}" for name, value in environment().items())
    return "\n".join(
        [
            f"{n_train} images to train on, {n_validation} to validate; {where}\n",
            "| | median | smallest to largest |",
            "|---|---|---|",
            _row("epoch on pixels (s)", measured.on_pixels),
            _row("epoch on features (s)", measured.on_features),
            f"| ratio | {measured.ratio:.3g} | |",
            f"| keeping the features, once (s) | {measured.one_off:.1f} | |",
        ]
    )


def _row(name: str, seconds: tuple[float, ...]) -> str:
    return f"| {name} | {np.median(seconds):.4g} | {min(seconds):.4g} to {max(seconds):.4g} |"


if __name__ == "__main__":
    main()
