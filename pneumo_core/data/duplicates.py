"""Find images that look the same, whatever their bytes.

An image is reduced to 32 × 32 grey pixels (box average); two images look the same where the correlation of these
pixels is at least 0.98. Evidence, on the 5,216 train images of the Kaggle archive: the 28 byte-identical pairs
correlate at 1, and no other pair of the 13.6 million above 0.9749, so every cut in between gives the same sets. The
same image after a change (200 images, lowest correlation): JPEG quality 30 0.9989, shrunk to 64 px 0.9993 or to 112 px
0.9954, contrast stretch 0.993, gamma 1.5 0.985; cropped by 1 % a side 0.968 (95 % of images above 0.986), rotated by
1° 0.936 (95 % above 0.988). At 16 × 16 different patients reach 0.983, at 48 × 48 crops are lost earlier.

Sets are connected components, so no two images that look the same are in different sets. A set may be large: 25 changed
copies of each image are 25 images that belong together. On sources of very uniform images a chain of resemblances can
join everything, and no role could be drawn from that: a set that holds more than a fifth of all images is divided by a
higher cut, that set alone. Copies among its images may then come apart, so their number is reported.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core import codec, files
from pneumo_core.progress import Progress, silent

THUMBNAIL_PX = 32
CUTS = (0.98, 0.99, 0.995, 0.999)  # the first for all; the next for sets that are too large; then only identical bytes
LARGEST_SHARE, SMALL_SET = 0.2, 20  # a set of at most this share of the images, or so many, stays whole
_VERSION = 2  # raise it whenever the same images would be compared otherwise
_BLOCK_CELLS = 2**24  # of the correlation matrix at a time: 64 MiB

Rows = NDArray[np.intp]


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (32, 32) grey thumbnail of a grey image (h, w, 1)."""
    return thumbnail_of(Image.fromarray(pixels[:, :, 0]))


def thumbnail_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the (32, 32) grey thumbnail of an image of Pillow's mode L."""
    return np.asarray(image.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))


def looks(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], *, on_progress: Progress = silent
) -> tuple[list[str], int]:
    """Return, for each image, the smallest digest of the set that looks like it, and how many images were divided.

    Divided images looked the same, in a set too large to stay one. `thumbnails` is (n, 32, 32). The result depends
    neither on the order nor on the names of the images.
    """
    if not digests:
        return [], 0
    first = {digest: row for row, digest in enumerate(digests)}  # copies of one file are no chain of resemblances
    names = sorted(first)
    x = _normalised(thumbnails[[first[name] for name in names]])  # (distinct, 1024)
    largest = max(SMALL_SET, int(LARGEST_SHARE * len(names)))
    sets, divided = _sets(x, CUTS, largest, on_progress)
    look = {name: names[row] for name, row in zip(names, _first_of_set(sets), strict=True)}
    return [look[digest] for digest in digests], len({names[row] for row in np.flatnonzero(divided)})


def _sets(
    x: NDArray[np.float32], cuts: Sequence[float], largest: int, on_progress: Progress = silent
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the number of each row's set, (n,), and whether the set was divided, (n,); rows are sorted by digest."""
    if not cuts:
        return np.arange(len(x)), np.ones(len(x), bool)
    sets, divided = _components(x, cuts[0], on_progress), np.zeros(len(x), bool)
    for number in np.flatnonzero(np.bincount(sets) > largest):
        rows = np.flatnonzero(sets == number)
        sets[rows] = sets.max() + 1 + _sets(x[rows], cuts[1:], largest)[0]
        divided[rows] = True
    return sets, divided


def remembered_looks(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], cache_dir: Path, *, on_progress: Progress = silent
) -> tuple[list[str], int]:
    """Return `looks`, from `cache_dir` where the same contents were compared before."""
    memory = cache_dir / "looks" / f"{codec.digest([_VERSION, sorted(set(digests))])}.json"
    try:
        stored = json.loads(memory.read_text("utf-8"))
        return [stored["look"].get(digest, digest) for digest in digests], int(stored["divided"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a cache: missing or damaged, it is made anew
        names, n_divided = looks(digests, thumbnails, on_progress=on_progress)
    alike = {digest: name for digest, name in zip(digests, names, strict=True) if digest != name}
    text = json.dumps({"divided": n_divided, "look": alike})
    files.write_file(memory, lambda path: path.write_text(text, "utf-8"))
    return names, n_divided


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)  # (n, 1024)
    x -= x.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, norm, out=np.zeros_like(x), where=norm > 1e-3))  # a flat image resembles none


def _components(x: NDArray[np.float32], cut: float, on_progress: Progress) -> NDArray[np.intp]:
    """Return the number of each row's connected component, (n,), where rows that correlate at `cut` are joined."""
    sets, n_rows = np.arange(len(x)), max(1, _BLOCK_CELLS // max(1, len(x)))
    for start in range(0, len(x), n_rows):
        row, column = np.nonzero(np.triu(x[start : start + n_rows] @ x[start:].T >= cut, k=1))
        sets = components(len(x), sets[row + start], sets[column + start])[sets]
        on_progress("comparing images", min(start + n_rows, len(x)), len(x))
    return np.unique(sets, return_inverse=True)[1].astype(np.intp)


def components(n: int, first: Sequence[int] | Rows, second: Sequence[int] | Rows) -> Rows:
    """Return the smallest node that is connected with each of `n` nodes, (n,), by the edges from `first` to `second`.

    SciPy has the same, but takes a quarter of a second of processor time to import.
    """
    smallest = np.arange(n)
    while True:
        a, b = smallest[first], smallest[second]
        if np.array_equal(a, b):
            return smallest
        np.minimum.at(smallest, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(shorter := smallest[smallest], smallest):
            smallest = shorter


def _first_of_set(sets: NDArray[np.intp]) -> list[int]:
    """Return, for each node, the first node of its set."""
    _, first, member = np.unique(sets, return_index=True, return_inverse=True)
    return [int(row) for row in first[member]]
