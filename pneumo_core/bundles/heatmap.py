"""Saliency overlays of predicted files, one PNG each, drawn on the radiograph itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pneumo_core.bundles import saliency
from pneumo_core.bundles.predictor import Predictor, from_file
from pneumo_core.bundles.saliency import Maps
from pneumo_core.data import bounded, reading
from pneumo_core.files import storage_errors
from pneumo_core.progress import Progress
from pneumo_core.specs import DataSpec

if TYPE_CHECKING:
    from pneumo_core.bundles.prediction import Prediction

SIDE_PX = 512  # longest side of an overlay
AT_ONCE = 32


def write_all(
    predictor: Predictor, found: "Sequence[Prediction]", folder: Path, on_progress: Progress
) -> "Iterator[Prediction]":
    """Write an overlay for each prediction without an error and yield them all, those with the overlay's path."""
    taken: set[str] = set()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(found), AT_ONCE):
            some = found[start : start + AT_ONCE]
            good = [Path(row.path) for row in some if not row.error]
            overlays = zip(good, _evidence(predictor, good), strict=True) if good else iter(())
            for row in some:
                yield row if row.error else replace(row, heatmap=str(_write(*next(overlays), folder, taken)))
            on_progress("drawing heatmaps", start + len(some), len(found))


def _evidence(predictor: Predictor, paths: Sequence[Path]) -> list[Maps]:
    """Return the evidence of each file over its whole radiograph, (h', w'): the mean over the members."""
    images = [from_file(predictor, path) for path in paths]
    sizes = [_size(path) for path in paths]
    by_member = []
    for member, model in zip(predictor.bundle.members, predictor.models, strict=True):
        at = predictor.data_specs.index(member.data)
        maps = saliency.maps(model, np.stack([image[at] for image in images]))  # (n, h, w)
        by_member.append([_unpadded(m, member.data, size) for m, size in zip(maps, sizes, strict=True)])
    return [np.mean([_at(m, by_member[0][i].shape) for m in column], axis=0) for i, column in _columns(by_member)]


def _columns(rows: list[list[Maps]]) -> "Iterator[tuple[int, tuple[Maps, ...]]]":
    return enumerate(zip(*rows, strict=True))


def _size(path: Path) -> tuple[int, int]:
    return bounded.read(_shown, path)[0]


def _shown(source: Path | bytes) -> tuple[tuple[int, int], Image.Image]:
    """Return (height, width) of an image as it is decoded for an overlay, and the image at its size."""
    pixels = reading.decode(source, channels=1, at_least_px=SIDE_PX)[..., 0]  # (h, w)
    scale = min(1.0, SIDE_PX / max(pixels.shape))
    height, width = (max(1, round(length * scale)) for length in pixels.shape)
    return pixels.shape, Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)


def _unpadded(evidence: Maps, data: DataSpec, size: tuple[int, int]) -> Maps:
    """Return the part of a map that lies over the image and not over its padding."""
    if data.resize == "squash":
        return evidence
    side = data.image_size_px
    height, width = (max(1, min(side, round(length * side / max(size)))) for length in size)  # as `preprocess.to_size`
    top, left = (side - height) // 2, (side - width) // 2
    return evidence[top : top + height, left : left + width]


def _at(evidence: Maps, shape: tuple[int, ...]) -> Maps:
    if evidence.shape == shape:
        return evidence
    return np.asarray(Image.fromarray(evidence).resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)


def _write(path: Path, evidence: Maps, folder: Path, taken: set[str]) -> Path:
    _, small = bounded.read(_shown, path)
    file = folder / _free_name(path.stem, taken)
    saliency.overlay(np.asarray(small), evidence).save(file)
    return file


def _free_name(stem: str, taken: set[str]) -> str:
    """Return a file name that no other image of this run has: files of different folders may share theirs."""
    name, number = f"{stem}.png", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.casefold())
    return name
