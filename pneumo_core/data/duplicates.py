"""Find images that look the same, whatever their bytes.

An image is reduced to 32 × 32 grey pixels (box average); two images look the same where the correlation of these
pixels is at least 0.98. Evidence, on the 5,216 train images of the Kaggle archive: the 28 byte-identical pairs
correlate at 1, and no other pair of the 13.6 million above 0.9744, so every cut in between gives the same sets. The
same image after a change (200 images, lowest correlation): JPEG quality 30 0.9989, shrunk to 64 px 0.9993 or to 112 px
0.9954, contrast stretch 0.993, gamma 1.5 0.985; cropped by 1 % a side 0.968 (95 % of images above 0.986), rotated by
1° 0.936 (95 % above 0.988). At 16 × 16 different patients reach 0.983, at 48 × 48 crops are lost earlier.

Sets are connected components, so no two images that look the same are in different sets. On sources of very uniform
images a chain of resemblances could swallow everything; the cut is then raised until the largest set is small.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pneumo_core import codec, files
from pneumo_core.progress import Progress, silent

THUMBNAIL_PX = 32
CUTS = (0.98, 0.99, 0.995, 0.999)  # the first whose largest set is small; none: only identical bytes
NO_CUT = 1.0
_VERSION = 1  # raise it whenever the same images would be compared otherwise
_SMALL_SET = 20  # or 1 % of the images, whichever is more
_BLOCK_CELLS = 2**24  # of the correlation matrix at a time: 64 MiB
_MAX_PAIRS = 20_000_000


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (32, 32) grey thumbnail of a grey image (h, w, 1)."""
    image = Image.fromarray(pixels[:, :, 0])
    return np.asarray(image.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))


def looks(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], *, on_progress: Progress = silent
) -> tuple[list[str], float]:
    """Return, for each image, the smallest digest of the set that looks like it, and the cut that was used.

    `thumbnails` is (n, 32, 32). The result depends neither on the order nor on the names of the images.
    """
    if not digests:
        return [], CUTS[0]
    first = {digest: row for row, digest in enumerate(digests)}  # copies of one file are no chain of resemblances
    names = sorted(first)
    x = _normalised(thumbnails[[first[name] for name in names]])  # (distinct, 1024)
    largest = max(_SMALL_SET, len(names) // 100)
    for cut in CUTS:
        pairs = _near_pairs(x, cut, min(len(names) * largest // 2, _MAX_PAIRS), on_progress)
        sets = _components(len(names), pairs) if pairs is not None else None
        if sets is not None and np.bincount(sets).max() <= largest:
            smallest = {name: names[row] for name, row in zip(names, _first_of_set(sets), strict=True)}
            return [smallest[digest] for digest in digests], cut
    return list(digests), NO_CUT


def remembered_looks(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], cache_dir: Path, *, on_progress: Progress = silent
) -> tuple[list[str], float]:
    """Return `looks`, from `cache_dir` where the same contents were compared before."""
    memory = cache_dir / "looks" / f"{codec.digest([_VERSION, sorted(set(digests))])}.json"
    try:
        stored = json.loads(memory.read_text("utf-8"))
        return [stored["look"].get(digest, digest) for digest in digests], float(stored["cut"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a cache: missing or damaged, it is made anew
        names, cut = looks(digests, thumbnails, on_progress=on_progress)
    alike = {digest: name for digest, name in zip(digests, names, strict=True) if digest != name}
    text = json.dumps({"cut": cut, "look": alike})
    files.write_file(memory, lambda path: path.write_text(text, "utf-8"))
    return names, cut


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)  # (n, 1024)
    x -= x.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, norm, out=np.zeros_like(x), where=norm > 1e-3))  # a flat image resembles none


def _near_pairs(x: NDArray[np.float32], cut: float, most: int, on_progress: Progress) -> NDArray[np.intp] | None:
    """Return the pairs (m, 2) of rows of `x` that correlate at `cut` or more, or None where there are over `most`."""
    found, n_found, rows = [np.empty((0, 2), np.intp)], 0, max(1, _BLOCK_CELLS // max(1, len(x)))
    for start in range(0, len(x), rows):
        block = x[start : start + rows] @ x[start:].T  # (rows, n - start)
        row, column = np.nonzero(np.triu(block >= cut, k=1))
        found.append(np.stack([row + start, column + start], axis=1))
        if (n_found := n_found + len(row)) > most:
            return None
        on_progress("comparing images", min(start + rows, len(x)), len(x))
    return np.concatenate(found)


def _components(n: int, pairs: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the connected component of each of `n` nodes."""
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)


def _first_of_set(sets: NDArray[np.intp]) -> list[int]:
    """Return, for each node, the first node of its set."""
    _, first, member = np.unique(sets, return_index=True, return_inverse=True)
    return [int(row) for row in first[member]]
