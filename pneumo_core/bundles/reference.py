"""The images that a bundle was certified on, described for `drift`: up to 500 of them as traces, with their scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core.bundles import trace
from pneumo_core.bundles.trace import Traces
from pneumo_core.errors import BundleError
from pneumo_core.scoring.metrics import Floats

FILE = "reference.npz"
N_KEPT = 500


@dataclass(frozen=True, kw_only=True)
class Sample:
    """n images: 16 × 16 grey levels (n, 16, 16) uint8, facts (n, 10), scores (n,), numbers of their patients (n,)."""

    small: NDArray[np.uint8]
    facts: NDArray[np.float32]
    scores: Floats
    patients: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def sample(traces: Traces, scores: Floats, groups: Sequence[str]) -> Sample:
    """Return images of which traces and scores are known, in the same order; `groups` names the patient of each."""
    patients = np.unique(np.array(groups), return_inverse=True)[1].astype(np.int64)
    return Sample(small=traces.small, facts=traces.facts, scores=np.asarray(scores, np.float64), patients=patients)


def kept_rows(n: int) -> NDArray[np.intp]:
    """Return which of `n` images are kept: at most 500, drawn once."""
    return np.sort(np.random.default_rng(0).permutation(n)[:N_KEPT])


def write(folder: Path, found: Sample) -> None:
    """Write `FILE` into a bundle that is being made."""
    np.savez_compressed(
        folder / FILE,
        small=found.small,
        facts=found.facts,
        scores=found.scores.astype(np.float32),
        patients=found.patients,
    )


def read(folder: Path) -> Sample | None:
    """Return the sample in a bundle, whose files were checked; None where it has none."""
    if not (folder / FILE).is_file():
        return None
    try:
        with np.load(folder / FILE, allow_pickle=False) as stored:
            found = Sample(
                small=stored["small"],
                facts=stored["facts"],
                scores=np.asarray(stored["scores"], np.float64),
                patients=np.asarray(stored["patients"], np.int64),
            )
        n = len(found)
        shapes = (found.small.shape, found.facts.shape, found.patients.shape)
        if shapes != ((n, trace.SMALL_PX, trace.SMALL_PX), (n, len(trace.FACTS)), (n,)):
            raise ValueError(f"shapes {shapes} for {n} scores")
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"`{folder / FILE}` can't be read: {error}") from error
    return found
