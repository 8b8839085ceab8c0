"""Find copies of an image that were mirrored, rotated or inverted, and images that lie wrong themselves.

`duplicates` compares images as they are; here each is compared with every other one in seven orientations, inverted,
and turned by a few degrees. Images are compared at 32 × 32 grey pixels; a comparison at 8 × 8 selects the pairs.
Altered copies share a role, as look-alikes do.

Evidence for the cut, on the 5,216 train images of the Kaggle archive, which has no such copies: of 13.6 million pairs
none correlates above 0.961 in another orientation or inverted, none above 0.969 turned by 5°, 10° or 15°; so the cut
of 0.98 joins no two children.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core import codec, files
from pneumo_core.data import duplicates
from pneumo_core.data.duplicates import LARGEST_SHARE, SMALL_SET, Rows, components
from pneumo_core.data.manifest import AlteredPair
from pneumo_core.progress import Progress, silent

_CUT = 0.98  # correlation from which two images are copies, as in `duplicates`
_COARSE_CUT = 0.97
_COARSE_PX, _TURNED_PX = 8, 16  # pairs are chosen by so many pixels a side, turned at so many
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0), (1, 3), (3, 1))
_ROUNDING = 1e-3  # of what is left beside them
_BLOCK_CELLS = 2**14  # of a matrix of bounds at a time: BLAS starts no threads for them, whose waiting costs more
_FEWEST_ROWS = 8  # of it
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
    """A pair of an image and a changed copy of it. Rows of the thumbnails."""

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
    n_changes = len(_UNTURNED) + len(_DEGREES)
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
    edges = [(number[looks[pair.first]], number[looks[pair.second]]) for pair in found]
    ends = np.array(edges, np.intp).reshape(-1, 2).T
    smallest = components(len(names), *ends)
    of_each = [int(smallest[number[look]]) for look in looks]
    sizes = Counter(of_each)
    largest = max(SMALL_SET, int(LARGEST_SHARE * len(looks)))
    joined = {int(one) for one in smallest[ends.ravel()]}
    apart = {one for one in joined if sizes[one] > largest}
    return [names[one] if one in joined - apart else "" for one in of_each], sum(one in apart for one in of_each)


def odd_ones(thumbnails: NDArray[np.uint8]) -> list[Odd]:
    """Return the images (n, 32, 32) that are blank, or that fit the others better inverted, rotated or upside down."""
    x = thumbnails.astype(np.float32)
    blank = x.reshape(len(x), -1).std(axis=1) < _FLAT  # (n,)
    found = [Odd(row=int(row), how="blank") for row in np.flatnonzero(blank)]
    if (~blank).sum() < _FEWEST:
        return found
    usual = _normalised(np.median(_normalised(x[~blank]), axis=0, keepdims=True))[0]  # (1024,)
    as_it_is = _normalised(x) @ usual
    changes = (*_ORIENTATIONS, _INVERTED)
    fits = np.stack([_normalised(change.alter(x)) @ usual for change in changes])  # (changes, n)
    best = fits.argmax(axis=0)
    wrong = ~blank & (fits.max(axis=0) > as_it_is + _MARGIN)
    return found + [Odd(row=int(row), how=changes[best[row]].how) for row in np.flatnonzero(wrong)]


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


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A way to change images: `alter` takes and gives (n, s, s), `inside` (s, s) is what it leaves whole."""

    how: str
    alter: Callable[[Floats], Floats]
    inside: NDArray[np.bool_] | None = None  # None: all


_ORIENTATIONS = (
    _Change(how="mirrored", alter=lambda x: x[:, :, ::-1]),
    _Change(how="upside down", alter=lambda x: x[:, ::-1, ::-1]),
    _Change(how="rotated by 90°", alter=lambda x: np.rot90(x, 1, (1, 2))),
    _Change(how="rotated by 270°", alter=lambda x: np.rot90(x, 3, (1, 2))),
    _Change(how="mirrored, upside down", alter=lambda x: x[:, ::-1, :]),
    _Change(how="mirrored, rotated by 90°", alter=lambda x: np.rot90(x[:, :, ::-1], 1, (1, 2))),
    _Change(how="mirrored, rotated by 270°", alter=lambda x: np.rot90(x[:, :, ::-1], 3, (1, 2))),
)
_INVERTED = _Change(how="inverted", alter=lambda x: -x)
_MIRRORED_AND_INVERTED = _Change(how="mirrored and inverted", alter=lambda x: -x[:, :, ::-1])
_UNTURNED = (  # what undoes another one finds the same pairs
    *(change for change in _ORIENTATIONS if change.how != "rotated by 270°"),
    _INVERTED,
    _MIRRORED_AND_INVERTED,
)


def _pairs_by_change(thumbnails: NDArray[np.uint8]) -> Iterator[list[Altered]]:
    """Yield the pairs of each kind whose small images, 8 × 8, resemble each other."""
    x = thumbnails.astype(np.float32)
    side = _TURNED_PX
    small = _boxes(x, side)
    squares = _boxes(small, _COARSE_PX)
    coarse = _Coarse(_normalised(squares))
    for change in _UNTURNED:
        near = coarse.near(_normalised(change.alter(squares)), undoes_itself=not change.how.startswith("rotated"))
        yield _alike(x, change, near)
    coarse = _Coarse(_normalised(_boxes(_within(small, _disc(side)), _COARSE_PX)))
    for degrees in _DEGREES:
        turned = _boxes(_within(_turned(small, degrees), _disc(side)), _COARSE_PX)
        change = _Change(how=f"turned by {degrees}°", alter=partial(_turned, degrees=degrees), inside=_disc(x.shape[1]))
        yield _alike(x, change, coarse.near(_normalised(turned), undoes_itself=False))


class _Coarse:
    """Small images (n, 64), rows of mean 0 and length 1, prepared to be compared with as many changed ones."""

    def __init__(self, x: Floats) -> None:
        self._x, self._bounds = x, _bounds(x)

    def near(self, changed: Floats, *, undoes_itself: bool) -> Iterator[Rows]:
        """Yield rows (2, m) of images and of changed ones that correlate at `_COARSE_CUT` at least.

        A change that undoes itself finds each pair twice: it is left out once.
        """
        n, bounds = len(changed), _bounds(changed).T
        n_rows = max(_FEWEST_ROWS, _BLOCK_CELLS // max(1, n))
        for start in range(0, n, n_rows):
            begin = start if undoes_itself else 0
            cells = np.flatnonzero(self._bounds[start : start + n_rows] @ bounds[:, begin:] >= _COARSE_CUT)
            first, second = np.divmod(cells, n - begin)
            for at in range(0, len(first), _AT_ONCE):
                pair = np.stack([first[at : at + _AT_ONCE] + start, second[at : at + _AT_ONCE] + begin])
                exact = np.einsum("ij,ij->i", self._x[pair[0]], changed[pair[1]])
                is_new = pair[0] < pair[1] if undoes_itself else pair[0] != pair[1]
                pair = pair[:, (exact >= _COARSE_CUT) & is_new]
                if pair.size:
                    yield pair


def _bounds(x: Floats) -> Floats:
    """Return, of small images (n, 64), rows (n, 13) whose products are no less than the correlations of the images.

    They are the lowest spatial frequencies, which hold most of a radiograph, and the length of what is left. They cost
    a fifth of what the correlations cost, and leave few pairs to compute.
    """
    waves = np.cos(np.pi / _COARSE_PX * np.outer(range(4), np.arange(_COARSE_PX) + 0.5))  # (4, 8)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    low = np.stack([np.outer(waves[u], waves[v]).ravel() for u, v in _FREQUENCIES]).astype(np.float32)
    along = np.einsum("ij,kj->ik", x, low)
    rest = np.sqrt(np.maximum(0, (x * x).sum(axis=1) - (along * along).sum(axis=1)))
    return np.concatenate([along, rest[:, None] + _ROUNDING], axis=1)


def _alike(x: Floats, change: _Change, near: Iterable[Rows]) -> list[Altered]:
    """Return the pairs where an image and a changed one correlate; none where the images (n, s, s) are all alike."""
    found: list[Altered] = []
    for first, second in near:
        exact = np.einsum("ij,ij->i", _compared(x[first], change), _compared(change.alter(x[second]), change))
        found += [
            Altered(first=int(first[row]), second=int(second[row]), how=change.how, correlation=float(exact[row]))
            for row in np.flatnonzero(exact >= _CUT)
        ]
        if len(found) > _MOST_EACH * len(x):
            return []
    return found


def _compared(x: Floats, change: _Change) -> Floats:
    """Return images as they are compared: (n, pixels), of mean 0 and length 1."""
    return _normalised(x if change.inside is None else x[:, change.inside])


def _boxes(x: Floats, side: int) -> Floats:
    """Return images (n, s, s) shrunk to `side` pixels, a half or a quarter of s, by averaging."""
    while x.shape[1] > side:  # NumPy takes six times as long to sum over the axes of a reshaped array
        x = (x[:, ::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, ::2] + x[:, 1::2, 1::2]) * np.float32(0.25)
    return x


def _within(x: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return images (n, s, s) whose other pixels have the average of those `inside`."""
    average = (x * inside).sum(axis=(1, 2), keepdims=True) / np.float32(inside.sum())
    return np.where(inside, x, average)


def _turned(x: Floats, degrees: float) -> Floats:
    """Return square images (n, s, s) turned about their middle, bilinear; 0 comes in at the corners."""
    side = x.shape[1]
    angle, middle = np.deg2rad(degrees), (side - 1) / 2
    down, right = np.mgrid[:side, :side].reshape(2, -1) - middle
    y = np.cos(angle) * down - np.sin(angle) * right + middle
    across = np.sin(angle) * down + np.cos(angle) * right + middle
    flat = x.reshape(len(x), -1)
    turned = np.zeros_like(flat)
    for at_y, at_x in product((np.floor(y), np.floor(y) + 1), (np.floor(across), np.floor(across) + 1)):
        inside = (at_y >= 0) & (at_y < side) & (at_x >= 0) & (at_x < side)
        weights = np.where(inside, (1 - abs(y - at_y)) * (1 - abs(across - at_x)), 0).astype(np.float32)
        turned += flat[:, np.where(inside, at_y * side + at_x, 0).astype(np.intp)] * weights
    return turned.reshape(x.shape)


def _disc(side: int) -> NDArray[np.bool_]:
    middle = (np.arange(side) - (side - 1) / 2) / (side / 2)
    return np.asarray(np.hypot(middle[:, None], middle[None, :]) < 0.9)


def _normalised(x: Floats) -> Floats:
    """Return (n, pixels) of mean 0 and length 1; a flat image is all 0 and resembles none."""
    flat = x.reshape(len(x), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 1e-3), np.float32)
