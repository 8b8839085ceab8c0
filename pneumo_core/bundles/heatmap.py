"""Saliency overlays of predicted files, one PNG each, drawn on the radiograph itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pneumo_core.bundles import saliency
from pneumo_core.bundles.predictor import Arrays, Predictor, from_file
from pneumo_core.bundles.saliency import Maps
from pneumo_core.data import bounded, reading
from pneumo_core.errors import DataError, StorageError
from pneumo_core.files import check_free, storage_errors, write_file
from pneumo_core.progress import Progress
from pneumo_core.specs import DataSpec

if TYPE_CHECKING:
    from pneumo_core.bundles.prediction import Prediction

SIDE_PX = 512  # longest side of an overlay
AT_ONCE = 32
MARK = "pneumo-search"  # key of a text in each overlay, by which a later run knows it


@dataclass(frozen=True)
class _Radiograph:
    """A file that is to be drawn on: as the networks want it, its (height, width), and as people look at it."""

    path: Path
    arrays: Arrays
    size: tuple[int, int]
    small: Image.Image


def write_all(
    predictor: Predictor, found: "Sequence[Prediction]", folder: Path, on_progress: Progress
) -> "Iterator[Prediction]":
    """Write an overlay for each prediction without an error and yield them all, those with the overlay's path.

    Nothing that is in `folder` is replaced but overlays of earlier runs. One that can't be written keeps its score.
    """
    taken: set[str] = set()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(found), AT_ONCE):
        some = found[start : start + AT_ONCE]
        read = [_read(predictor, row) for row in some]
        good = [image for image in read if isinstance(image, _Radiograph)]
        evidence = iter(_evidence(predictor, good) if good else ())
        for row, image in zip(some, read, strict=True):
            if isinstance(image, _Radiograph):
                yield _drawn(row, image, next(evidence), folder, taken)
            else:
                yield row if row.error else replace(row, heatmap_error=image)
        on_progress("drawing heatmaps", start + len(some), len(found))


def _read(predictor: Predictor, row: "Prediction") -> _Radiograph | str:
    """Return the image of a prediction, or why there is none; its file may have changed since it was scored."""
    if row.error:
        return row.error
    path = Path(row.path)
    try:
        return _Radiograph(path, from_file(predictor, path), *bounded.read(_shown, path))
    except (DataError, OSError) as error:
        return str(error)


def _evidence(predictor: Predictor, images: Sequence[_Radiograph]) -> list[Maps]:
    """Return the evidence of each image over its whole radiograph, (h', w'): the mean over the members."""
    by_member = []
    for member, model in zip(predictor.bundle.members, predictor.models, strict=True):
        at = predictor.data_specs.index(member.data)
        maps = saliency.maps(model, np.stack([image.arrays[at] for image in images]))  # (n, h, w)
        sizes = [image.size for image in images]
        by_member.append([_unpadded(m, member.data, size) for m, size in zip(maps, sizes, strict=True)])
    return [np.mean([_at(m, by_member[0][i].shape) for m in column], axis=0) for i, column in _columns(by_member)]


def _columns(rows: list[list[Maps]]) -> "Iterator[tuple[int, tuple[Maps, ...]]]":
    return enumerate(zip(*rows, strict=True))


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
    height, width = (max(1, min(side, round(length * side / max(size)))) for length in size)  # as `rows.to_size`
    top, left = (side - height) // 2, (side - width) // 2
    return evidence[top : top + height, left : left + width]


def _at(evidence: Maps, shape: tuple[int, ...]) -> Maps:
    if evidence.shape == shape:
        return evidence
    return np.asarray(Image.fromarray(evidence).resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)


def _drawn(row: "Prediction", image: _Radiograph, evidence: Maps, folder: Path, taken: set[str]) -> "Prediction":
    """Return `row` with its overlay, or with why that can't be written."""
    overlay = saliency.overlay(np.asarray(image.small), evidence)
    about = PngInfo()
    about.add_text(MARK, "heatmap")
    try:
        file = _free_file(folder, image.path.stem, taken)
        write_file(file, lambda path: overlay.save(path, format="PNG", pnginfo=about))
    except (StorageError, OSError) as error:
        return replace(row, heatmap_error=str(error))
    return replace(row, heatmap=str(file))


def _free_file(folder: Path, stem: str, taken: set[str]) -> Path:
    """Return a file that no other image of this run has, and that holds nothing but an earlier overlay."""
    name, number = f"{stem}.png", 1
    while name.casefold() in taken or not _is_free(folder / name):
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.casefold())
    return folder / name


def _is_free(file: Path) -> bool:
    try:
        check_free(file, _is_overlay)
    except StorageError:
        return False
    return True


def _is_overlay(file: Path) -> bool:
    """Return whether `file` is an overlay: its mark comes before the pixels."""
    with file.open("rb") as stream:
        return f"tEXt{MARK}\0heatmap".encode() in stream.read(1000)
