"""Pictures, folders and manifests for the tests of the data modules, and where the real images are."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core.data.manifest import ImageRecord, Manifest

DATA = Path(os.environ.get("PNEUMO_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"real images not at {DATA}; set PNEUMO_TEST_DATA to the folder that has chest_xray/"
)


def pixels(seed: int, width: int = 40, height: int = 32) -> np.ndarray:
    """Return smooth random grey pixels (h, w) uint8 that resemble those of no other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, seed: int, **options: int) -> Path:
    """Write a random picture, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels(seed, **options), "PNG" if path.suffix == ".png" else "JPEG"))
    return path


def folder(root: Path, n_of_class: int = 12, role: str = "") -> Path:
    """Write a source of `n_of_class` images a class, two a patient, in the Kaggle archive's file naming."""
    for index in range(n_of_class):
        write(root / role / "NORMAL" / f"IM-{index // 2:04d}-{index:04d}.jpeg", 2 * index)
        write(root / role / "PNEUMONIA" / f"person{index // 2}_virus_{index}.jpeg", 2 * index + 1)
    return root


def record(index: int, label: int, **changes: object) -> ImageRecord:
    """Return a record of an imaginary image; unlike any other unless `changes` says so."""
    facts: dict[str, object] = {
        "path": f"{'PNEUMONIA' if label else 'NORMAL'}/{index}.png",
        "label": label,
        "group": f"patient-{index}",
        "kind": "virus" if label else "normal",
        "official_role": None,
        "width_px": 10,
        "height_px": 10,
        "mode": "L",
        "n_bytes": 100,
        "digest": f"{index:032x}",
        "look": f"{index:032x}",
    }
    return ImageRecord(**{**facts, **changes})  # type: ignore[arg-type]


def manifest(records: list[ImageRecord]) -> Manifest:
    return Manifest(source="/nowhere", negative="NORMAL", positive="PNEUMONIA", records=tuple(records))
