"""Find copies of an image that were mirrored, rotated or inverted, and images that lie wrong themselves.

`duplicates` compares images as they are; here each is compared with every other one in seven orientations, inverted,
and turned by a few degrees. Compared are 32 × 32 grey pixels; 8 × 8 of them choose the pairs that are worth it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumo_core.progress import Progress, silent

_CUT = 0.98  # correlation from which two images are copies, as in `duplicates`
_COARSE_CUT = 0.95
_COARSE_PX = 8
_BLOCK = 1024  # rows compared at a time
_MOST = 1000  # pairs of one kind: more say that the images are all alike
_FLAT = 3.0  # grey levels: the standard deviation below which an image is blank
_MARGIN = 0.3  # by which another orientation must fit the other images better
_FEWEST = 20  # images that say how one should lie
_DEGREES = (-15, -10, -5, 5, 10, 15)

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


def copies(thumbnails: NDArray[np.uint8], looks: Sequence[str], *, on_progress: Progress = silent) -> list[Altered]:
    """Return the pairs of images (n, 32, 32) that are altered copies, those that look the same as they are left out."""
    x = thumbnails.astype(np.float32)
    found: dict[tuple[int, int], Altered] = {}
    changes = [*_orientations(x), ("inverted", -x), ("mirrored and inverted", -x[:, :, ::-1]), *_turned(thumbnails)]
    for done, (how, changed) in enumerate(changes, start=1):
        for pair in _alike(x, changed, how, disc="turned" in how):
            key = (min(pair.first, pair.second), max(pair.first, pair.second))
            if looks[pair.first] != looks[pair.second] and (
                key not in found or found[key].correlation < pair.correlation
            ):
                found[key] = pair
        on_progress("looking for altered copies", done, len(changes))
    return sorted(found.values(), key=lambda pair: (pair.how, -pair.correlation, pair.first, pair.second))


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


def _turned(thumbnails: NDArray[np.uint8]) -> Iterator[tuple[str, Floats]]:
    for degrees in _DEGREES:
        turned = [np.asarray(Image.fromarray(t).rotate(degrees, Image.Resampling.BICUBIC)) for t in thumbnails]
        yield f"turned by {abs(degrees)}°", np.stack(turned).astype(np.float32)


def _alike(x: Floats, changed: Floats, how: str, *, disc: bool) -> list[Altered]:
    """Return the pairs where `x` and `changed` correlate; with `disc`, within the circle that a turn leaves whole."""
    inside = _disc(x.shape[1]) if disc else np.ones(x.shape[1:], bool)
    coarse_x, coarse_changed = _coarse(x, inside), _coarse(changed, inside)
    fine_x, fine_changed = _normalised(x[:, inside]), _normalised(changed[:, inside])
    found: list[Altered] = []
    for start in range(0, len(x), _BLOCK):
        near = np.argwhere(coarse_x[start : start + _BLOCK] @ coarse_changed.T >= _COARSE_CUT)
        first, second = near[:, 0] + start, near[:, 1]
        keep = first != second
        first, second = first[keep][: 200 * _MOST], second[keep][: 200 * _MOST]
        exact = np.einsum("ij,ij->i", fine_x[first], fine_changed[second])
        for at in np.flatnonzero(exact >= _CUT):
            pair = Altered(first=int(first[at]), second=int(second[at]), how=how, correlation=float(exact[at]))
            found.append(pair)
    return [] if len(found) > 2 * _MOST else found


def _coarse(x: Floats, inside: NDArray[np.bool_]) -> Floats:
    side = x.shape[1] // _COARSE_PX
    shown = np.where(inside, x, x[:, inside].mean(axis=1)[:, None, None])
    return _normalised(shown.reshape(len(x), _COARSE_PX, side, _COARSE_PX, side).mean(axis=(2, 4)))


def _disc(side: int) -> NDArray[np.bool_]:
    middle = (np.arange(side) - (side - 1) / 2) / (side / 2)
    return np.asarray(np.hypot(middle[:, None], middle[None, :]) < 0.9)


def _normalised(x: Floats) -> Floats:
    """Return (n, pixels) of mean 0 and length 1; a flat image is all 0 and resembles none."""
    flat = x.reshape(len(x), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 1e-3), np.float32)
