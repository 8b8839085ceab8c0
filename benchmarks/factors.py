"""What a training must be for its network to serve images that are framed in another way.

    python -m benchmarks.factors FOLDER [--only REGEX] [--seeds 2] [--trainers 12] [--json FILE]

Trains a fine-tuned EfficientNet-Lite0 (128 px, its last two stages, 12 epochs of 1,024 images) and changes one thing
at a time: epochs, image size, depth, strength of augmentation, patients, optimiser, network. Judges each on validation
images, pooled as the study `pneumonia` does, and with the normal children framed as elsewhere (`benchmarks.framing`,
strongest), and says how well the figures that a search may choose by rank the trainings by the framed AUC. All settings
take two CPU cores some hours; `--only '^96'` takes those whose name begins so. On a GPU, `KERAS_BACKEND=jax` and as
many trainers side by side as there are cores for. The first seed of a setting compiles, the next ones load that.
"""

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks import framing
from pneumo_core import markdown
from pneumo_core.scoring import operating
from pneumo_core.specs import AugmentSpec, BackboneSpec, CnnSpec, DataSpec, TrainSpec, TrialSpec
from search.executors import devices
from search.home import Home
from search.prepared import Prepared, read_source
from spaces.training import augmented
from studies.spec import UNDER_SHIFTS, SourceSpec

LITE = BackboneSpec(name="EfficientNetLite0", trainable_from="stage-2", backbone_rate=0.5, dropout=0.2)
CNN = CnnSpec(filters=(16, 32, 64, 96), normalization="batch", dropout=0.2)
TRAIN = TrainSpec(
    epochs=12,
    steps_per_epoch=32,
    batch_size=32,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-2,
    schedule="cosine",
    warmup_epochs=1.0,
    patience=30,
    label_smoothing=0.02,
    average=0.98,
    augment=augmented(geometric=0.7, photometric=0.7, sharpness=0.7),
    precision="auto",
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    name: str
    spec: TrialSpec
    seed: int
    source: str
    home: Path


def setting(side_px: int = 128, model: BackboneSpec | CnnSpec = LITE, **train: Any) -> TrialSpec:
    """Return the usual training with some of its settings changed."""
    return TrialSpec(data=DataSpec(image_size_px=side_px), model=model, train=replace(TRAIN, **train))


def lite(number: int, trainable_from: str = "stage-2") -> BackboneSpec:
    return replace(LITE, name=f"EfficientNetLite{number}", trainable_from=trainable_from)


def changed(geometric: float = 0.7, photometric: float = 0.7, sharpness: float = 0.7, **more: Any) -> AugmentSpec:
    return replace(augmented(geometric=geometric, photometric=photometric, sharpness=sharpness), **more)


SHARPER = changed(sharpness=1.0)
SETTINGS: Mapping[str, TrialSpec] = {
    **{
        f"{side} px, {n} epochs": setting(side, epochs=n)
        for side, n in ((128, 4), (128, 12), (128, 30), (224, 4), (224, 12))
    },
    "no augmentation": setting(augment=AugmentSpec()),
    "geometric 1.5": setting(augment=changed(geometric=1.5)),
    "photometric 1.4": setting(augment=changed(photometric=1.4)),
    "sharpness 1.5": setting(augment=changed(sharpness=1.5)),
    "all three 1": setting(augment=changed(1.0, 1.0, 1.0)),
    "wider crops and shifts": setting(augment=changed(crop=0.5, shift=0.2, zoom=0.3, aspect=0.5, black=0.3)),
    "last stage": setting(model=lite(0, "stage-1")),
    "all layers": setting(model=lite(0, "all")),
    "a tenth of the patients": setting(patients=0.1),
    "from scratch, 30 epochs": setting(model=CNN, epochs=30, learning_rate=3e-3),
    **{
        f"sharper: {side} px, {n} epochs": setting(side, epochs=n, augment=SHARPER)
        for side, n in ((96, 8), (96, 12), (96, 20), (128, 8))
    },
    "sharper: geometric .4": setting(augment=changed(geometric=0.4, sharpness=1.0)),
    "sharper: geometric 1": setting(augment=changed(geometric=1.0, sharpness=1.0)),
    "sharper: photometric .4": setting(augment=changed(photometric=0.4, sharpness=1.0)),
    "sharper: mirrored": setting(augment=replace(SHARPER, flip=0.5)),
    "sharper: half of the patients": setting(augment=SHARPER, patients=0.5),
    "sharper: 128 px, 8 epochs, rate 2e-3": setting(epochs=8, augment=SHARPER, learning_rate=2e-3),
    "sharper: 128 px, 8 epochs of 64 batches of 16": setting(
        epochs=8, augment=SHARPER, batch_size=16, steps_per_epoch=64
    ),
    "sharper: Lite1": setting(model=lite(1), augment=SHARPER),
    "sharper: Lite1, all layers, 160 px, 16 epochs": setting(160, model=lite(1, "all"), epochs=16, augment=SHARPER),
    "sharper: Lite2": setting(model=lite(2), augment=SHARPER),
    "sharper: Lite2, 192 px, 16 epochs": setting(192, model=lite(2), epochs=16, augment=SHARPER),
}


def main() -> None:
    """Parse, train, print."""
    asked = _parser().parse_args()
    os.environ.update(devices.common_environment(None))
    names = [name for name in SETTINGS if re.search(asked.only, name)]
    if not names:
        raise SystemExit(f"--only {asked.only}: no setting is called so; there are: {', '.join(SETTINGS)}")
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job(name=name, spec=SETTINGS[name], seed=seed, source=asked.folder, home=Path(folder))
            for seed in range(asked.seeds)
            for name in names
        ]
        prepared = _prepared(jobs[0])
        for data in {job.spec.data: None for job in jobs}:
            prepared.arrays_for(data)
        with multiprocessing.get_context("spawn").Pool(min(asked.trainers, len(jobs))) as pool:
            found = _told(pool.imap_unordered(judged, jobs), len(jobs))
    print(table(found))
    print(ranked_by(found))
    if asked.json:
        asked.json.write_text(json.dumps(found), "utf-8")


def judged(job: Job) -> dict[str, Any]:
    """Train, in a process that may have trained before; return the figures."""
    from pneumo_core.data.shifted import open_fit_arrays
    from pneumo_core.training import trial

    began_s, epochs_s = time.perf_counter(), list[float]()

    def on_epoch(epoch: int, metrics: object) -> bool:
        epochs_s.append(time.perf_counter() - began_s)
        return False

    arrays = open_fit_arrays(_prepared(job).arrays_for(job.spec.data), UNDER_SHIFTS.shifts)
    made = trial.build_and_train(job.spec, UNDER_SHIFTS, arrays, job.seed, on_epoch)
    file = job.home / f"{os.getpid()}.keras"
    made.model.save(file)
    y = np.asarray(arrays.y_validation)
    scores = framing.scores_of(file, np.asarray(arrays.x_validation), y)
    clean, *_, framed = (operating.judge(y, each, framing.OBJECTIVE).metrics for each in scores)
    trial.free_memory()
    return {
        "name": job.name,
        "seed": job.seed,
        "first_epoch_s": epochs_s[0],  # reading and compiling included
        "seconds": time.perf_counter() - began_s,
        "clean_auc": clean.auc,
        "pooled_auc": made.result.metrics.auc,
        "pooled_specificity": made.result.metrics.specificity,
        "framed_auc": framed.auc,
        "framed_specificity": framed.specificity,
    }


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """Return the means by setting, the most robust first."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for each in found:
        rows.setdefault(each["name"], []).append(each)
    lines = []
    for name, of in sorted(rows.items(), key=lambda row: -fmean(each["framed_auc"] for each in row[1])):
        mean = {key: fmean(each[key] for each in of) for key in of[0] if key not in ("name", "seed")}
        pairs = (f"{mean[f'{kind}_auc']:.4f} / {mean[f'{kind}_specificity']:.3f}" for kind in ("pooled", "framed"))
        lines.append((name, str(len(of)), f"{mean['clean_auc']:.4f}", *pairs))
    head = ("setting", "trainings", "clean AUC", "pooled AUC and specificity", "framed AUC and specificity")
    return markdown.table(head, lines)


def ranked_by(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the rank correlations of what a search may choose by with the framed AUC."""
    truth = [each["framed_auc"] for each in found]
    figures = ("pooled_auc", "clean_auc", "pooled_specificity")
    parts = [f"{name} {spearmanr([each[name] for each in found], truth).statistic:.2f}" for name in figures]
    return f"Rank correlation with framed_auc over {len(found)} trainings: {', '.join(parts)}"


def _told(found: Iterable[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Print each as it comes."""
    kept: list[dict[str, Any]] = []
    for each in found:
        kept.append(each)
        print(
            f"{len(kept)} of {n}: {each['name']}, {each['seconds']:.0f} s, framed {each['framed_auc']:.4f}", flush=True
        )
    return kept


def _prepared(job: Job) -> Prepared:
    return read_source(SourceSpec(source=job.source), Home(job.home))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--only", default="", help="settings whose name has this pattern")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trainers", type=int, default=1, help="trainings side by side")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main()
