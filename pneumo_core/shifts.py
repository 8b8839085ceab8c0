"""Named, fixed changes of radiographs: how the images of another hospital, machine or archive may differ from these.

A study that names some (`ObjectiveSpec(shifts=...)`) judges its trials on validation images as they are and on the same
images changed, all at one threshold. Strengths are about what separates archives of the same examination: framing
within a fifth of the side, grey levels within what viewers and exports do, sharpness within a factor of two in pixels.
They are in families, so that a family can be left out of an objective and used to judge what the others chose.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pneumo_core import pictures
from pneumo_core.errors import nearest
from pneumo_core.pictures import Pixels
from pneumo_core.seeds import derive

Shift = Callable[[Pixels, int], Pixels]  # pixels (h, w, c) and a seed to changed pixels; few use the seed


def _plain(change: Callable[..., Pixels], **settings: float) -> Shift:
    return lambda pixels, _seed: change(pixels, **settings)


def _moved(**settings: object) -> Shift:
    matrix = pictures.affine(**settings)  # type: ignore[arg-type]
    return lambda pixels, _seed: pictures.warp(pixels, matrix)


def _framed(pixels: Pixels, _seed: int) -> Pixels:
    """Black bars left and right, as in pictures of scanned films and padded exports."""
    return pictures.cover(pictures.cover(pixels, (0.0, 0.0, 0.07, 1.0), 0.0), (0.93, 0.0, 1.0, 1.0), 0.0)


FAMILIES: Mapping[str, Mapping[str, Shift]] = MappingProxyType(
    {
        "tone": {
            "low_contrast": _plain(pictures.tone, contrast=0.65),
            "high_contrast": _plain(pictures.tone, contrast=1.5),
            "dark": _plain(pictures.tone, brightness=-0.15),
            "bright": _plain(pictures.tone, brightness=0.15),
            "low_gamma": _plain(pictures.tone, gamma=0.65),
            "high_gamma": _plain(pictures.tone, gamma=1.5),
            "light_background": _plain(pictures.tone, black=0.12),
        },
        "sharpness": {
            "blurred": _plain(pictures.blur, radius=0.008),
            "sharpened": _plain(pictures.sharpen, strength=1.5),
            "coarse": _plain(pictures.coarsen, detail=0.02),
        },
        "framing": {
            "wide": _moved(zoom=(1.2, 1.0)),
            "tall": _moved(zoom=(1.0, 1.2)),
            "cropped": _moved(zoom=(1.25, 1.25)),
            "cropped_low": _moved(zoom=(1.2, 1.2), shift=(0.0, 0.08)),
            "turned_left": _moved(rotation_deg=-8.0),
            "turned_right": _moved(rotation_deg=8.0),
            "framed": _framed,
        },
        "acquisition": {
            "noisy": lambda pixels, seed: pictures.add_noise(pixels, 0.04, seed),
            "compressed": _plain(partial(pictures.recompress, quality=15)),
        },
    }
)
ALL: tuple[str, ...] = tuple(name for family in FAMILIES.values() for name in family)


def check(names: Iterable[str]) -> None:
    """Raise `ValueError` for a name that no shift has."""
    for name in names:
        if name not in ALL:
            raise ValueError(f"`shifts` must be names such as 'blurred', got {name!r}{nearest(str(name), ALL)}")


def apply(name: str, images: Pixels) -> Pixels:
    """Return `images` (n, h, w, c) uint8 under the shift `name`; the same on every call."""
    shift = _shift(name)
    return np.stack([shift(pixels, derive("shift", name, row)) for row, pixels in enumerate(images)])


def assigned(names: Sequence[str], n_images: int) -> NDArray[np.int64]:
    """Return which of `names` each of `n_images` gets, (n,): drawn once, all equally often."""
    turns = np.arange(n_images) % len(names)
    return np.random.default_rng(derive("shifts", *names)).permutation(turns)


def apply_assigned(names: Sequence[str], images: Pixels) -> Pixels:
    """Return `images` (n, h, w, c) uint8, each under the one of `names` that it is `assigned`."""
    shifts = [_shift(name) for name in names]
    which = assigned(names, len(images))
    changed = [
        shifts[k](pixels, derive("shift", names[k], row))
        for row, (k, pixels) in enumerate(zip(which, images, strict=True))
    ]
    return np.stack(changed)


def _shift(name: str) -> Shift:
    check((name,))
    return next(family[name] for family in FAMILIES.values() if name in family)
