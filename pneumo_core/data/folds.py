"""Patient-grouped folds over the training and validation roles, for judging a spec on images that taught it nothing."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pneumo_core import codec
from pneumo_core.data import preprocess
from pneumo_core.data.preprocess import Origin
from pneumo_core.data.split import Role
from pneumo_core.errors import DataError
from pneumo_core.scoring.metrics import Bools, Ints
from pneumo_core.seeds import derive

POOLED_ROLES: tuple[Role, Role] = ("train", "validation")
STOPPING_FOLDS = 6  # one in six of the images to learn from decides when to stop: about the study's own share


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The training and validation roles as one, train first, each in its own order."""

    x: tuple[npt.NDArray[np.uint8], ...]  # one (n, h, w, c) a role
    y: npt.NDArray[np.uint8]  # (n,) over both
    groups: npt.NDArray[np.str_]  # (n,)
    origin: Origin | None = None  # None: in memory only

    def take(self, rows: Ints) -> npt.NDArray[np.uint8]:
        """Return the images (m, h, w, c) of ascending `rows` (m,), copied into memory."""
        parts, start = [], 0
        for x in self.x:
            parts.append(x[rows[(rows >= start) & (rows < start + len(x))] - start])
            start += len(x)
        return np.concatenate(parts)

    def origin_of(self, *rows: Ints) -> Origin | None:
        """Return the origin of a choice of rows, (m,) each."""
        if self.origin is None:
            return None
        digest = codec.digest([self.origin.digest, *(each.tolist() for each in rows)])
        return Origin(cache_dir=self.origin.cache_dir, digest=digest)


def assign(y: npt.ArrayLike, groups: npt.ArrayLike, n_folds: int, seed: int) -> Ints:
    """Return the fold of each image, (n,) in [0, `n_folds`): no group in two, each class spread evenly.

    The largest groups are dealt first, in an order drawn from `seed`, each to the fold that lacks its class most. A
    group's class is that of most of its images. Raises `DataError` where a class has fewer groups than folds.
    """
    labels, names = np.asarray(y).astype(int), np.asarray(groups)
    if n_folds < 2 or labels.shape != names.shape or not len(labels):
        raise ValueError(f"needs 2 folds or more and (n,) arrays, got {n_folds}, {labels.shape} and {names.shape}")
    found, number = np.unique(names, return_inverse=True)
    n_positive, n_images = np.bincount(number, weights=labels), np.bincount(number)
    of_class = (2 * n_positive > n_images).astype(int)  # (n_groups,)
    fold_of_group = np.zeros(len(found), np.int64)
    for label in (0, 1):
        mine = np.flatnonzero(of_class == label)
        if len(mine) < n_folds:
            raise DataError(
                f"label {label} has {len(mine)} patient groups in train and validation, too few for {n_folds} folds; "
                "use fewer folds or more images"
            )
        mine = np.random.default_rng(derive(seed, "folds", label)).permutation(mine)
        sizes: dict[int, int] = defaultdict(int)
        for group in sorted(mine.tolist(), key=lambda g: -int(n_images[g])):
            fold = min(range(n_folds), key=lambda f: (sizes[f], f))
            fold_of_group[group] = fold
            sizes[fold] += int(n_images[group])
    return fold_of_group[number]


def parts(y: npt.ArrayLike, groups: npt.ArrayLike, n_folds: int, index: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Return the rows to learn from, to stop by, and held out, each ascending.

    Stopping has images of its own, so that the held-out ones choose nothing, not even the best epoch.
    """
    held_out = assign(y, groups, n_folds, seed) == index
    rest = np.flatnonzero(~held_out)
    labels, names = np.asarray(y)[rest], np.asarray(groups)[rest]
    try:
        stopping: Bools = assign(labels, names, STOPPING_FOLDS, derive(seed, "stopping", index)) == 0
    except DataError as error:
        raise DataError(
            f"beside one of {n_folds} folds, {STOPPING_FOLDS} patient groups of each class must be left, to stop the "
            "training by; use more folds or more images"
        ) from error
    return rest[~stopping], rest[stopping], np.flatnonzero(held_out)


def pool(arrays: Path) -> Pooled:
    """Open the pooled images in a folder of prepared arrays; their pixels stay on disk until they are taken."""
    roles = [preprocess.open_role(arrays, role) for role in POOLED_ROLES]
    return Pooled(
        x=tuple(role.x for role in roles),
        y=np.concatenate([role.y for role in roles]),
        groups=np.concatenate([np.array(role.groups) for role in roles]),
        origin=preprocess.origin_of(arrays),
    )


def labels(arrays: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Return label and patient group of the pooled images, (n,) each."""
    pooled = pool(arrays)
    return pooled.y, pooled.groups


def check(arrays: Path, n_folds: int, seed: int) -> None:
    """Raise `DataError` where the pooled images have too few patients of a class for `n_folds` folds."""
    y, groups = labels(arrays)
    for index in range(n_folds):
        parts(y, groups, n_folds, index, seed)
