"""How far networks lean on how the children of one class are framed.

    python -m benchmarks.framing FOLDER --home RUNS [--study pneumonia] [--bundle BUNDLE ...]

On images of other children from the same archive it was the normal ones that looked different: framed tighter and
lower, on a lighter background. So the normal validation images are changed in that way, in three strengths, and the
ill ones are left as they are. Prints for each network that the search left, and for the average of all, the AUC between
the two, and the specificity at the threshold that misses 3 % of the ill. With --bundle, that of bundles instead.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import kept
from pneumo_core import pictures
from pneumo_core.bundles import bundle
from pneumo_core.data import preprocess
from pneumo_core.models import forward
from pneumo_core.pictures import Pixels
from pneumo_core.scoring import operating
from pneumo_core.scoring.average import average
from pneumo_core.specs import ObjectiveSpec
from search.home import Home
from search.prepared import Prepared, read_source
from studies.spec import SourceSpec

STRENGTHS = (0, 1, 2, 3)  # 0: as they are
OBJECTIVE = ObjectiveSpec(kind="specificity", fnr_ceiling=0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--study", default="pneumonia")
    parser.add_argument("--bundle", nargs="+", type=Path, default=[])
    options = parser.parse_args()
    print("| trial | " + " | ".join("as they are" if k == 0 else f"strength {k}" for k in STRENGTHS) + " |")
    print("|---|" + "---|" * len(STRENGTHS))
    if options.bundle:
        prepared = read_source(SourceSpec(source=options.folder), Home(options.home))
        for folder in options.bundle:
            print(f"| {folder.name} | {_row(*of_bundle(folder, prepared))} |", flush=True)
        return
    found = []
    for network in kept.networks(options.folder, options.home, options.study):
        role = network.role("validation")
        y = np.asarray(role.y)
        found.append(scores_of(network.file, np.asarray(role.x), y))
        print(f"| {network.trial} | {_row(found[-1], y)} |", flush=True)
    if found:
        print(f"| average | {_row(_averaged(found), y)} |")


def of_bundle(folder: Path, prepared: Prepared) -> tuple[list[np.ndarray], np.ndarray]:
    """Return a bundle's scores (n,) under each strength, and the labels (n,)."""
    found = []
    for member in bundle.read(folder).members:
        role = preprocess.open_role(prepared.arrays_for(member.data), "validation")
        y = np.asarray(role.y)
        found.append(scores_of(folder / member.file, np.asarray(role.x), y))
    return _averaged(found), y


def framed(pixels: Pixels, strength: int) -> Pixels:
    """Return `pixels` (h, w, c) tighter, lower and on a lighter background."""
    matrix = pictures.affine(zoom=(1.02 + 0.06 * strength, 1.04 + 0.08 * strength), shift=(0.0, 0.01 + 0.02 * strength))
    return pictures.tone(pictures.warp(pixels, matrix), black=0.03)


def scores_of(network: Path, x: Pixels, y: np.ndarray) -> list[np.ndarray]:
    """Return the scores (n,) under each strength; those of the ill are the same under all."""
    engine = forward.of_file(network)
    plain = engine.scores(x)
    found = [plain]
    for strength in STRENGTHS[1:]:
        scores = plain.copy()
        scores[y == 0] = engine.scores(np.stack([framed(pixels, strength) for pixels in x[y == 0]]))
        found.append(scores)
    return found


def _averaged(found: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    return [average([scores[k] for scores in found]) for k in STRENGTHS]


def _row(scores: Sequence[np.ndarray], y: np.ndarray) -> str:
    judged = [operating.judge(y, of_strength, OBJECTIVE).metrics for of_strength in scores]
    return " | ".join(f"{figures.auc:.4f} / {figures.specificity:.3f}" for figures in judged)


if __name__ == "__main__":
    main()
