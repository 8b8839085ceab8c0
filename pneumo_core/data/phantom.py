"""Synthetic chest radiographs: body, lungs, spine, heart, ribs, clavicles, noise; the positive ones have opacities.

For demos and tests without data. They are drawings, not physics, and results on them say nothing about patients.
Difficulty, on 600 at 64 px, 330 of them for training: mean brightness alone has AUC 0.70, a linear model on 16 × 16
pixels 0.96, a 3-convolution network 0.95 to 0.98 after 5 epochs and 0.987 after 12 (two seeds, 270 images of other
patients). Different patients correlate at most at 0.972, so none look the same.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core import codec, files
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent

Field = NDArray[np.float32]

_VERSION = 2  # raise it whenever the same spec would give other pixels


@dataclass(frozen=True, kw_only=True)
class PhantomSpec:
    """How many phantoms of what kind. Same spec, same bytes."""

    n_images: int = 1200  # some 100 positives to validate on: FNR steps of 1 %
    image_size_px: int = 96
    positive_share: float = 0.6
    images_per_patient: int = 4  # at most; 1 to this many, so grouping by patient matters
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_images < 8 or not 16 <= self.image_size_px <= 1024 or self.images_per_patient < 1:
            raise ValueError("a phantom set needs at least 8 images of 16 to 1024 px and 1 image a patient")
        if not 0 < self.positive_share < 1:
            raise ValueError(f"`positive_share` must be in (0, 1), got {self.positive_share!r}")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One image to draw: its name, its patient's seed, its own seed."""

    name: str
    positive: bool
    patient: tuple[int, ...]
    image: tuple[int, ...]


def generate(cache_dir: Path, spec: PhantomSpec | None = None, *, on_progress: Progress = silent) -> Path:
    """Return a folder of PNG files in the layout and with the file names of the Kaggle archive, drawn if not there."""
    spec = spec or PhantomSpec()
    plans = _plan(spec)
    folder = Path(cache_dir) / "phantoms" / codec.digest([_VERSION, spec])

    def build(temporary: Path) -> None:
        for class_name in ("NORMAL", "PNEUMONIA"):
            (temporary / class_name).mkdir()
        drawn = map_in_order(
            lambda plan: draw(plan.patient, plan.image, plan.positive, spec.image_size_px),
            plans,
            what="drawing phantoms",
            on_progress=on_progress,
        )
        for plan, pixels in zip(plans, drawn, strict=True):
            Image.fromarray(pixels).save(temporary / plan.name, compress_level=0)  # same size for both classes

    return files.build_once(folder, build, lambda there: all((there / plan.name).is_file() for plan in plans))


def draw(patient: tuple[int, ...], image: tuple[int, ...], positive: bool, side: int) -> NDArray[np.uint8]:
    """Return one phantom, (side, side) uint8, determined by the seeds of its patient and of itself."""
    anatomy, view = np.random.default_rng(patient), np.random.default_rng(image)
    x, y = _grid(side, view)
    lungs = _lungs(x, y, anatomy)
    density = _chest(x, y, lungs, anatomy) + 0.035 * _clouds(side, view)
    if positive:
        density += lungs * _opacities(x, y, anatomy, view) * (1 + 0.3 * _clouds(side, view))
    return _expose(density, view)


def _plan(spec: PhantomSpec) -> list[_Plan]:
    """Return what to draw: patients of one class each, with consecutive numbers, until the images are used up."""
    rng = np.random.default_rng((spec.seed, 0))
    n_positive = round(spec.n_images * spec.positive_share)
    plans: list[_Plan] = []
    for positive, n_images in ((False, spec.n_images - n_positive), (True, n_positive)):
        patient = 0
        while n_images > 0:
            patient += 1
            kind = "bacteria" if rng.random() < 0.65 else "virus"  # as in the archive
            for view in range(min(int(rng.integers(1, spec.images_per_patient + 1)), n_images)):
                number = len(plans) + 1
                normal = f"NORMAL/IM-{patient:04d}-{view + 1:04d}.png"
                name = f"PNEUMONIA/person{patient}_{kind}_{number}.png" if positive else normal
                seeds = (spec.seed, 1, int(positive), patient), (spec.seed, 2, number)
                plans.append(_Plan(name=name, positive=positive, patient=seeds[0], image=seeds[1]))
                n_images -= 1
    return plans


def _grid(side: int, view: np.random.Generator) -> tuple[Field, Field]:
    """Return x and y in about [-1, 1], (side, side) each, for a patient not quite straight and not quite centred."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    angle, scale = np.float32(view.normal(0, 0.04)), np.float32(view.normal(1, 0.03))
    shift_x, shift_y = view.normal(0, 0.03, 2).astype(np.float32)
    turned_x = scale * (np.cos(angle) * x - np.sin(angle) * y) + shift_x
    return turned_x, scale * (np.sin(angle) * x + np.cos(angle) * y) + shift_y


def _blob(x: Field, y: Field, center: tuple[float, float], radii: tuple[float, float], edge: float = 0.08) -> Field:
    """Return 1 inside an ellipse, 0 outside, soft across `edge`."""
    distance = np.hypot((x - center[0]) / radii[0], (y - center[1]) / radii[1])
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / edge, -30, 30))), np.float32)


def _lungs(x: Field, y: Field, anatomy: np.random.Generator) -> Field:
    width, height = anatomy.normal(0.30, 0.035), anatomy.normal(0.62, 0.06)
    apart, middle = anatomy.normal(0.42, 0.035), anatomy.normal(-0.08, 0.05)
    domes = anatomy.normal((0.42, 0.47), 0.06)  # the diaphragm, lower on the patient's left
    lungs = np.zeros_like(x)
    for sign, dome in zip((-1, 1), domes, strict=True):
        lung = _blob(x, y, (sign * apart, middle), (width, height))
        floor = dome + 0.8 * (x - sign * apart) ** 2
        lungs += lung / (1 + np.exp(np.clip((y - floor) / 0.03, -30, 30)))
    return lungs


def _chest(x: Field, y: Field, lungs: Field, anatomy: np.random.Generator) -> Field:
    """Return the attenuation of a healthy chest, about 0..1."""
    body = _blob(x, y, (0, 0.3), (anatomy.normal(0.92, 0.05), anatomy.normal(1.5, 0.1)), 0.05)
    spine = np.exp(-((x / anatomy.normal(0.11, 0.015)) ** 2))
    heart = _blob(x, y, tuple(anatomy.normal((0.15, 0.28), 0.04)), tuple(anatomy.normal((0.30, 0.27), 0.035)))
    roots = np.exp(-((np.abs(x) - 0.18) ** 2) / 0.012 - (y + 0.05) ** 2 / anatomy.uniform(0.02, 0.06))
    soft = 0.62 * body + 0.22 * spine * body - anatomy.normal(0.42, 0.04) * lungs * (1 - 0.75 * heart) + 0.08 * roots
    return np.asarray(soft + body * _bones(x, y, anatomy), np.float32)


def _bones(x: Field, y: Field, anatomy: np.random.Generator) -> Field:
    spacing, phase = anatomy.normal(0.19, 0.02), anatomy.uniform(0, 2 * np.pi)
    bend, strength = anatomy.normal(0.35, 0.08), anatomy.uniform(0.05, 0.10)
    wave = np.cos(2 * np.pi * (y - bend * np.abs(x) + 0.25 * x**2) / spacing + phase)
    ribs = strength * np.clip(wave, 0, 1) ** 2 * (np.abs(x) > 0.1)
    slope, level = anatomy.normal(0.25, 0.05), anatomy.normal(-0.62, 0.04)
    clavicles = 0.12 * np.exp(-(((y - level + slope * np.abs(x)) / 0.035) ** 2))
    return np.asarray(ribs + clavicles, np.float32)


def _opacities(x: Field, y: Field, anatomy: np.random.Generator, view: np.random.Generator) -> Field:
    """Return soft opacities: places and sizes are the patient's, the strength differs a little between views."""
    total = np.zeros_like(x)
    for _ in range(int(anatomy.integers(1, 4))):
        center = anatomy.choice((-1, 1)) * anatomy.uniform(0.30, 0.52), anatomy.uniform(-0.45, 0.35)
        radius, strength = anatomy.uniform(0.14, 0.28), anatomy.uniform(0.30, 0.60) * view.uniform(0.8, 1.2)
        total += strength * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * radius**2))
    return total


def _clouds(side: int, view: np.random.Generator) -> Field:
    """Return smooth random variation of unit size, (side, side): vessels and soft tissue that mimic faint opacities."""
    total = np.zeros((side, side), np.float32)
    for cells, weight in ((5, 0.8), (12, 0.6)):
        coarse = Image.fromarray(view.normal(0, weight, (cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return total


def _expose(density: Field, view: np.random.Generator) -> NDArray[np.uint8]:
    """Return 8-bit pixels: exposure and contrast differ far more between films than an opacity changes the mean."""
    noisy = density + view.normal(0, view.uniform(0.015, 0.035), density.shape)
    shown = view.normal(0.5, 0.05) + view.uniform(0.85, 1.15) * (noisy - 0.42)
    return np.asarray(np.clip(shown, 0, 1) ** view.uniform(0.9, 1.1) * 255 + 0.5, np.uint8)
