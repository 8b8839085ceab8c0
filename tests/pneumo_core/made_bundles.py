"""Small bundles with untrained networks, made in a moment."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumo_core.bundles import bundle
from pneumo_core.bundles.bundle import Bundle, CalibrationCounts, Member
from pneumo_core.models import model
from pneumo_core.scoring.certify import certify_images, certify_patients
from pneumo_core.specs import CnnSpec, DataSpec, DenseSpec, ModelSpec, ObjectiveSpec, TrialSpec

CNN = TrialSpec(model=CnnSpec(filters=(4, 6)), data=DataSpec(image_size_px=16))
DENSE = TrialSpec(model=DenseSpec(units=(5,)), data=DataSpec(image_size_px=12, resize="pad"))


def network(spec: ModelSpec, data: DataSpec, seed: int = 0) -> keras.Model:
    """Return a network whose scores differ between images: models start with a constant one."""
    keras.utils.set_random_seed(seed)
    built = model.build(spec, data.shape)
    kernel, bias = built.get_layer("logit").weights
    kernel.assign(np.random.default_rng(seed).normal(0, 0.5, kernel.shape))
    bias.assign([0.1])
    return built


def described(*specs: TrialSpec, **changes: Any) -> Bundle:
    """Return what `bundle.json` says of a bundle of `specs`, but for its files."""
    names = ["model.keras"] if len(specs) == 1 else [f"model-{i}.keras" for i in range(1, len(specs) + 1)]
    y, scores = np.ones(120, int), np.linspace(0.2, 0.9, 120)
    facts: dict[str, Any] = {
        "study": "tiny",
        "finalize_id": "0" * 16,
        "negative": "NORMAL",
        "positive": "PNEUMONIA",
        "members": tuple(
            Member(file=name, data=spec.data, trial=i, spec=spec)
            for i, (name, spec) in enumerate(zip(names, specs, strict=True))
        ),
        "objective": ObjectiveSpec(),
        "threshold": 0.5,
        "guarantee": "image",
        "ceiling": 0.03,
        "confidence": 0.95,
        "certificates": {
            "image": certify_images(y, scores, ceiling=0.03),
            "patient": certify_patients(y, scores, np.arange(120) // 3, ceiling=0.03),
        },
        "calibration": CalibrationCounts(n_images=200, n_positive_images=120, n_patients=80, n_positive_patients=40),
        "fingerprint": {"data": {"digest": "?"}},
        "environment": {"keras": keras.__version__},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Bundle(**{**facts, **changes})


def make(folder: Path, *specs: TrialSpec, **changes: Any) -> Bundle:
    """Write a bundle of untrained networks into `folder`."""
    about = described(*specs, **changes)

    def fill(place: Path) -> None:
        for i, member in enumerate(about.members):
            network(member.spec.model, member.data, seed=i).save(place / member.file)
        (place / bundle.CARD).write_text("# Model card\n")

    return bundle.write(folder, about, fill)
