"""Which images a bundle was made from, kept inside it: digests of their bytes and signatures of their looks.

`trained_on.npz` has those of the train and validation roles: the images with which the networks were trained or
chosen. Figures on them are too good, and a threshold certified on them would guarantee nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core.bundles import trace
from pneumo_core.errors import BundleError

FILE = "trained_on.npz"
_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """`digests` (n, 16) uint8 and `looks` (n, 256) int8 of the images, in no order that says anything."""

    digests: NDArray[np.uint8]
    looks: NDArray[np.int8]

    def knows_digests(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return which of the files, named by the digests of their bytes, are among the images, (n,)."""
        known = {row.tobytes() for row in self.digests}
        return np.array([bytes.fromhex(digest) in known for digest in digests], bool)

    def knows(self, digests: Sequence[str], looks: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Return which images are among these or look like one of them, (n,)."""
        return self.knows_digests(digests) | trace.resembles(looks, self.looks)


def write(folder: Path, digests: Sequence[str], looks: NDArray[np.int8]) -> None:
    """Write `FILE` into a bundle that is being made; images are sorted by digest."""
    order = np.argsort(np.array(digests))
    raw = np.array([list(bytes.fromhex(digests[row])) for row in order], np.uint8).reshape(-1, _DIGEST_BYTES)
    np.savez_compressed(folder / FILE, digests=raw, looks=looks[order])


def read(folder: Path) -> TrainedOn | None:
    """Return what a bundle, whose files were checked, was made from; None where it doesn't say."""
    if not (folder / FILE).is_file():
        return None
    try:
        with np.load(folder / FILE, allow_pickle=False) as stored:
            found = TrainedOn(digests=stored["digests"], looks=stored["looks"])
        if found.digests.shape[1:] != (_DIGEST_BYTES,) or found.looks.shape[1:] != (trace.N_SIGNATURE,):
            raise ValueError(f"shapes {found.digests.shape} and {found.looks.shape}")
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"`{folder / FILE}` can't be read: {error}") from error
    return found
