"""A `.npz` as a source: that of MedMNIST, or what `pneumo data prepare --npz` wrote.

MedMNIST's has arrays `train_images`, `train_labels`, and so for `val` and `test`; labels are 0 and 1. Ours has
`x_train`, `y_train` and `groups_train`, and so for `validation`, `calibration` and `test`.
"""

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.data import altered, duplicates, inspection
from pneumo_core.data.manifest import ImageRecord, Manifest, OfficialRole
from pneumo_core.errors import DataError
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent

_MEDMNIST, _OWN = ("train", "val", "test"), ("train", "validation", "calibration", "test")
_ROLES: Mapping[str, OfficialRole] = {
    "train": "train",
    "val": "val",
    "test": "test",
    "validation": "val",
    "calibration": "val",
}
_MAX_BYTES = 7 * 2**27  # unpacked, of the arrays read; PneumoniaMNIST+ at 224 px has 0.3 × 10⁹
_MAX_IMAGES = 250_000  # TissueMNIST has 236,386


def scan(path: Path, *, negative: str, positive: str, cache_dir: Path, on_progress: Progress = silent) -> Manifest:
    """Return the manifest of a `.npz`; MedMNIST's names no patient, so every image is one of its own."""
    arrays = _load(path)
    rows = [(name, row) for name in _ROLES for row in range(len(arrays.get(f"{name}_images", ())))]
    looked = list(
        map_in_order(
            lambda at: _look(arrays[f"{at[0]}_images"][at[1]]), rows, what="reading images", on_progress=on_progress
        )
    )
    digests = [digest for digest, _ in looked]
    thumbnails = np.stack([thumb for _, thumb in looked])
    alike = altered.likenesses(digests, thumbnails, cache_dir, on_progress=on_progress)
    records = tuple(
        _record(arrays, name, row, digest, copies, (negative, positive))
        for (name, row), digest, *copies in zip(rows, digests, alike.looks, alike.families, strict=True)
    )
    manifest = Manifest(
        source=str(path),
        negative=negative,
        positive=positive,
        records=tuple(sorted(records, key=lambda record: record.path)),
        n_divided_looks=alike.n_divided,
        copies=alike.pairs([f"{name}_images/{row:06d}" for name, row in rows]),
        n_apart=alike.n_apart,
        patients="the groups in the file" if any(name.endswith("_groups") for name in arrays) else "",
    )
    for label in (0, 1):
        if not manifest.n_of_class(label):
            raise DataError(f"`{path}` has no image with label {label} (class `{manifest.class_name(label)}`)")
    return manifest


def reader(manifest: Manifest) -> Callable[[ImageRecord, int, int | None], NDArray[np.uint8]]:
    """Return the function that gives the pixels of the records of a `.npz`."""
    arrays = _load(Path(manifest.source))

    def read(record: ImageRecord, channels: int, at_least_px: int | None) -> NDArray[np.uint8]:
        name, row = record.path.split("/")
        if name not in arrays or int(row) >= len(arrays[name]) or _digest(arrays[name][int(row)]) != record.digest:
            raise DataError(f"`{manifest.source}` changed since the scan at {record.path}; scan the source again")
        return _pixels(arrays[name][int(row)], channels)

    return read


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the checked arrays; images (n, h, w) or (n, h, w, 3) uint8, labels (n,)."""
    if not path.is_file():
        raise DataError(f"`{path}` does not exist or is not a file")
    names = [f"{role}_{what}" for role in _MEDMNIST for what in ("images", "labels")]
    own = [f"{what}_{role}" for role in _OWN for what in ("x", "y", "groups")]
    wanted = {*names, *own}
    try:
        with zipfile.ZipFile(path) as archive:
            there = [info for info in archive.infolist() if info.filename.removesuffix(".npy") in wanted]
            size = sum(max(info.file_size, _claimed_bytes(archive, info)) for info in there)
        if size > _MAX_BYTES:
            raise DataError(
                f"`{path}` unpacks to {size} bytes, more than the {_MAX_BYTES} that are read; "
                "use a smaller image size, or folders of images"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names if name in stored.files} or _own(stored)
            there = sorted(stored.files)
    except DataError:
        raise
    except Exception as error:  # a damaged archive raises BadZipFile, ValueError, OSError, KeyError, zlib.error, ...
        raise DataError(f"`{path}` is not a readable `.npz` of plain arrays ({type(error).__name__})") from error
    if "train_images" not in arrays:
        raise DataError(f"`{path}` must have the arrays {names}, it has {there}")
    for role in _ROLES:
        _check(path, arrays, role)
    if (n := sum(len(array) for name, array in arrays.items() if name.endswith("_images"))) > _MAX_IMAGES:
        raise DataError(f"`{path}` has {n} images, more than the {_MAX_IMAGES} that are read; use a part of it")
    return arrays


def _claimed_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return the size of an array by its own header: room is made for that, however little follows."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return math.prod(shape) * dtype.itemsize


def _own(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return our own arrays as MedMNIST names them, with `…_groups`."""
    found: dict[str, NDArray[Any]] = {}
    for role in _OWN:
        if f"x_{role}" in stored:
            images = stored[f"x_{role}"]  # (n, h, w, c)
            found[f"{role}_images"] = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
            found[f"{role}_labels"] = stored[f"y_{role}"]
            found[f"{role}_groups"] = stored[f"groups_{role}"]
    return found


def _check(path: Path, arrays: dict[str, NDArray[Any]], role: str) -> None:
    images, labels = arrays.get(f"{role}_images"), arrays.get(f"{role}_labels")
    if images is None and labels is None:
        return
    if images is None or labels is None:
        raise DataError(f"`{path}` has only one of `{role}_images` and `{role}_labels`")
    is_stack = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not is_stack or 0 in images.shape[1:]:
        raise DataError(f"`{role}_images` of `{path}` must be (n, h, w) or (n, h, w, 3) uint8, got {_named(images)}")
    if labels.size != len(images) or labels.dtype.kind not in "iub":
        raise DataError(f"`{role}_labels` of `{path}` must be {len(images)} whole numbers, got {_named(labels)}")
    if other := sorted(set(np.unique(labels).tolist()) - {0, 1}):
        raise DataError(f"`{role}_labels` of `{path}` must be 0 or 1, got {other[:5]} too; only two classes are read")


def _named(array: NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"


def _look(image: NDArray[np.uint8]) -> tuple[str, NDArray[np.uint8]]:
    return _digest(image), duplicates.thumbnail(_pixels(image, 1))


def _digest(image: NDArray[np.uint8]) -> str:
    return inspection.content_digest(repr(image.shape).encode() + image.tobytes())


def _pixels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return (h, w, channels) from (h, w) or (h, w, 3)."""
    converted = np.asarray(Image.fromarray(image).convert("L" if channels == 1 else "RGB"))
    return converted if channels == 3 else converted[:, :, np.newaxis]


def _group(arrays: Mapping[str, NDArray[Any]], role: str, row: int) -> str:
    """Return the patient of an image, "" where the file doesn't say."""
    groups = arrays.get(f"{role}_groups")
    return str(groups[row]) if groups is not None and row < len(groups) else ""


def _record(
    arrays: dict[str, NDArray[Any]],
    role: str,
    row: int,
    digest: str,
    copies: Sequence[str],
    classes: tuple[str, str],
) -> ImageRecord:
    image, label = arrays[f"{role}_images"][row], int(arrays[f"{role}_labels"].reshape(-1)[row])
    path = f"{role}_images/{row:06d}"
    return ImageRecord(
        path=path,
        label=label,
        group=_group(arrays, role, row) or path,
        kind=classes[label],
        official_role=_ROLES[role],
        width_px=image.shape[1],
        height_px=image.shape[0],
        mode="L" if image.ndim == 2 else "RGB",
        n_bytes=image.nbytes,
        digest=digest,
        look=copies[0],
        family=copies[1],
    )
