"""Find copies of an image that were mirrored, rotated or inverted, and images that lie wrong themselves.

`duplicates` compares images as they are; here each is compared with every other one in seven orientations, inverted,
and turned by a few degrees. Compared are 32 × 32 grey pixels; 8 × 8 of them choose the pairs that are worth it. Altered
copies share a role, as look-alikes do.

Evidence for the cut, on the 5,216 train images of the Kaggle archive, which has no such copies: of 13.6 million pairs
none correlates above 0.961 in another orientation or inverted, none above 0.969 turned by 5°, 10° or 15°; so the cut
of 0.98 joins no two children.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from pneumo_core import codec, files
from pneumo_core.data import duplicates
from pneumo_core.data.duplicates import LARGEST_SHARE, SMALL_SET
from pneumo_core.data.manifest import AlteredPair
from pneumo_core.progress import Progress, silent

_CUT = 0.98  # correlation from which two images are copies, as in `duplicates`
_COARSE_CUT = 0.97
_COARSE_PX = 8
_BLOCK_CELLS = 2**22  # of a matrix of correlations at a time: 16 MiB
_AT_ONCE = 2**13  # pairs compared at a time: 64 MiB
_MOST_EACH = 4  # pairs of one kind an image has on average: more say that the images are all alike
_VERSION = 1  # raise it whenever the same images would be compared otherwise
_FLAT = 3.0  # grey levels: the standard deviation below which an image is blank
_MARGIN = 0.3  # by which another orientation must fit the other images better
_FEWEST = 20  # images that say how one should lie
_DEGREES = (5, 10, 15)

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Altered:
    """Two images of which one is a changed copy of the other. Rows of the thumbnails."""

    first: int
    second: int
    how: str
    correlation: float


@dataclass(frozen=True, kw_only=True)
class Odd:
    """An image that is not as the others are: blank, inverted, upside down, ..."""

    row: int
    how: str


@dataclass(frozen=True, kw_only=True)
class Likenesses:
    """What n images have to do with each other: `looks` (see `duplicates`), altered copies, and what was too much."""

    looks: tuple[str, ...]
    families: tuple[str, ...]  # names the set of altered copies that an image is one of, "" for none
    copies: tuple[Altered, ...]
    n_divided: int  # images that look the same, in sets too large to stay one
    n_apart: int  # images in sets of altered copies too large to be one

    def pairs(self, paths: Sequence[str]) -> tuple[AlteredPair, ...]:
        """Return the altered copies by the paths of the images."""
        return tuple(AlteredPair(first=paths[p.first], second=paths[p.second], how=p.how) for p in self.copies)


def likenesses(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], cache_dir: Path, *, on_progress: Progress = silent
) -> Likenesses:
    """Return which of the images (n, 32, 32) are copies, from `cache_dir` where the same contents were compared."""
    looks, n_divided = duplicates.remembered_looks(digests, thumbnails, cache_dir, on_progress=on_progress)
    found = _remembered_copies(digests, thumbnails, looks, cache_dir, on_progress)
    of_each, n_apart = families(looks, found)
    return Likenesses(
        looks=tuple(looks), families=tuple(of_each), copies=tuple(found), n_divided=n_divided, n_apart=n_apart
    )


def copies(thumbnails: NDArray[np.uint8], looks: Sequence[str], *, on_progress: Progress = silent) -> list[Altered]:
    """Return the pairs of images (n, 32, 32) that are altered copies, those that look the same are left out."""
    found: dict[tuple[int, int], Altered] = {}
    n_changes = len(_views(np.empty((0, 1, 1), np.float32))) + len(_DEGREES)
    for done, pairs in enumerate(_pairs_by_change(thumbnails), start=1):
        for pair in pairs:
            key = (min(pair.first, pair.second), max(pair.first, pair.second))
            if looks[pair.first] != looks[pair.second] and (
                key not in found or found[key].correlation < pair.correlation
            ):
                found[key] = pair
        on_progress("looking for altered copies", done, n_changes)
    return sorted(found.values(), key=lambda pair: (pair.how, -pair.correlation, pair.first, pair.second))


def families(looks: Sequence[str], found: Sequence[Altered]) -> tuple[list[str], int]:
    """Return the smallest look of the copies that each image is one of, "" for none, and how many were left apart.

    As in `duplicates`, a family of more than a fifth of the images would leave nothing to divide: its pairs come from
    images that are all alike, and it is left apart.
    """
    names = sorted(set(looks))
    number = {name: row for row, name in enumerate(names)}
    ends = [[number[looks[pair.first]] for pair in found], [number[looks[pair.second]] for pair in found]]
    graph = coo_matrix((np.ones(len(found), bool), ends), shape=(len(names), len(names)))
    member = connected_components(graph, directed=False)[1]
    sizes = Counter(int(member[number[look]]) for look in looks)
    largest = max(SMALL_SET, int(LARGEST_SHARE * len(looks)))
    first = {int(member[row]): names[row] for row in reversed(range(len(names)))}
    joined = {int(member[row]) for row in {*ends[0], *ends[1]}}
    apart = {of_set for of_set in joined if sizes[of_set] > largest}
    of_each = [int(member[number[look]]) for look in looks]
    return [first[one] if one in joined - apart else "" for one in of_each], sum(one in apart for one in of_each)


def odd_ones(thumbnails: NDArray[np.uint8]) -> list[Odd]:
    """Return the images (n, 32, 32) that are blank, or that fit the others better inverted, rotated or upside down."""
    x = thumbnails.astype(np.float32)
    blank = x.reshape(len(x), -1).std(axis=1) < _FLAT  # (n,)
    found = [Odd(row=int(row), how="blank") for row in np.flatnonzero(blank)]
    if (~blank).sum() < _FEWEST:
        return found
    usual = _normalised(np.median(_normalised(x[~blank]), axis=0, keepdims=True))[0]  # (1024,)
    as_it_is = _normalised(x) @ usual
    views = [*_orientations(x), ("inverted", -x)]
    fits = np.stack([_normalised(view) @ usual for _, view in views])  # (views, n)
    best = fits.argmax(axis=0)
    wrong = ~blank & (fits.max(axis=0) > as_it_is + _MARGIN)
    return found + [Odd(row=int(row), how=views[best[row]][0]) for row in np.flatnonzero(wrong)]


def _remembered_copies(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], looks: Sequence[str], cache_dir: Path, on_progress: Progress
) -> list[Altered]:
    """Return `copies`, from `cache_dir` where the same contents, in the same order, were compared before."""
    memory = cache_dir / "looks" / f"{codec.digest([_VERSION, 'altered', list(digests)])}.json"
    try:
        return [codec.from_json(Altered, pair) for pair in json.loads(memory.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):  # a cache: missing or damaged, it is made anew
        found = copies(thumbnails, looks, on_progress=on_progress)
    text = json.dumps([asdict(pair) for pair in found])
    files.write_file(memory, lambda path: path.write_text(text, "utf-8"))
    return found


def _orientations(x: Floats) -> list[tuple[str, Floats]]:
    """Return `x` (n, 32, 32) in the seven other orientations, with what each is called."""
    return [
        ("mirrored", x[:, :, ::-1]),
        ("upside down", x[:, ::-1, ::-1]),
        ("rotated by 90°", np.rot90(x, 1, (1, 2))),
        ("rotated by 270°", np.rot90(x, 3, (1, 2))),
        ("mirrored, upside down", x[:, ::-1, :]),
        ("mirrored, rotated by 90°", np.rot90(x[:, :, ::-1], 1, (1, 2))),
        ("mirrored, rotated by 270°", np.rot90(x[:, :, ::-1], 3, (1, 2))),
    ]


def _views(x: Floats) -> list[tuple[str, Floats]]:
    """Return `x` (n, s, s), of mean 0, in every change but turns; what undoes another one finds the same pairs."""
    turned = [(how, view) for how, view in _orientations(x) if how != "rotated by 270°"]
    return [*turned, ("inverted", -x), ("mirrored and inverted", -x[:, :, ::-1])]


def _pairs_by_change(thumbnails: NDArray[np.uint8]) -> Iterator[list[Altered]]:
    n, side = len(thumbnails), thumbnails.shape[1]
    x = thumbnails.astype(np.float32)
    whole, disc = _compared(x, np.ones((side, side), bool)), _compared(x, _disc(side))
    fine, coarse = whole.fine.reshape(x.shape), whole.coarse.reshape(n, _COARSE_PX, _COARSE_PX)
    for (how, finely), (_, coarsely) in zip(_views(fine), _views(coarse), strict=True):
        yield _alike(whole, _Compared(fine=finely.reshape(n, -1), coarse=coarsely.reshape(n, -1)), how)
    for degrees in _DEGREES:
        turned = (_turn(side, degrees) @ x.reshape(n, -1).T).T.reshape(x.shape)
        yield _alike(disc, _compared(turned, _disc(side)), f"turned by {degrees}°")


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Images as they are compared, rows of mean 0 and length 1: `fine` (n, pixels), `coarse` (n, 64)."""

    fine: Floats
    coarse: Floats


def _compared(x: Floats, inside: NDArray[np.bool_]) -> _Compared:
    """Return images (n, s, s) as they are compared within a part of them: that which a turn leaves whole."""
    side = x.shape[1] // _COARSE_PX
    shown = x if inside.all() else np.where(inside, x, x[:, inside].mean(axis=1)[:, None, None])
    boxes = shown.reshape(len(x), _COARSE_PX, side, _COARSE_PX, side).mean(axis=(2, 4))
    return _Compared(fine=_normalised(x[:, inside]), coarse=_normalised(boxes))


def _alike(x: _Compared, changed: _Compared, how: str) -> list[Altered]:
    """Return the pairs where an image and a changed one correlate; none where the images are all alike."""
    found: list[Altered] = []
    n = len(x.fine)
    n_rows = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n, n_rows):
        near = np.argwhere(x.coarse[start : start + n_rows] @ changed.coarse.T >= _COARSE_CUT)
        near[:, 0] += start
        near = near[near[:, 0] != near[:, 1]]
        for at in range(0, len(near), _AT_ONCE):
            first, second = near[at : at + _AT_ONCE].T
            exact = np.einsum("ij,ij->i", x.fine[first], changed.fine[second])
            found += [
                Altered(first=int(first[row]), second=int(second[row]), how=how, correlation=float(exact[row]))
                for row in np.flatnonzero(exact >= _CUT)
            ]
        if len(found) > _MOST_EACH * n:
            return []
    return found


def _turn(side: int, degrees: float) -> csr_matrix:
    """Return what turns flat square images about their middle, bilinear: (side², side²), 4 weights a row."""
    angle, middle = np.deg2rad(degrees), (side - 1) / 2
    down, right = np.mgrid[:side, :side].reshape(2, -1) - middle
    y = np.cos(angle) * down - np.sin(angle) * right + middle
    x = np.sin(angle) * down + np.cos(angle) * right + middle
    weights, rows, columns = [], [], []
    for at_y, at_x in product((np.floor(y), np.floor(y) + 1), (np.floor(x), np.floor(x) + 1)):
        inside = (at_y >= 0) & (at_y < side) & (at_x >= 0) & (at_x < side)
        weights.append(((1 - abs(y - at_y)) * (1 - abs(x - at_x)))[inside])
        rows.append(np.flatnonzero(inside))
        columns.append((at_y * side + at_x)[inside].astype(int))
    at = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(weights).astype(np.float32), at), shape=(side**2, side**2))


def _disc(side: int) -> NDArray[np.bool_]:
    middle = (np.arange(side) - (side - 1) / 2) / (side / 2)
    return np.asarray(np.hypot(middle[:, None], middle[None, :]) < 0.9)


def _normalised(x: Floats) -> Floats:
    """Return (n, pixels) of mean 0 and length 1; a flat image is all 0 and resembles none."""
    flat = x.reshape(len(x), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 1e-3), np.float32)
