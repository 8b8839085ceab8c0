"""How far networks lean on how the children of one class are framed.

    python -m benchmarks.framing FOLDER --home RUNS [--study pneumonia]

On images of other children from the same archive it was the normal ones that looked different: framed tighter and
lower, on a lighter background. So the normal validation images are changed in that way, in three strengths, and the
ill ones are left as they are. Prints for each network that the search left, and for the average of all, the AUC between
the two, and the specificity at the threshold that misses 3 % of the ill.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pneumo_core import codec, pictures
from pneumo_core.data import preprocess
from pneumo_core.models import forward
from pneumo_core.pictures import Pixels
from pneumo_core.scoring import metrics
from pneumo_core.scoring.average import average
from pneumo_core.specs import TrialSpec
from search import records
from search.home import Home
from search.kept import KeptNetworks
from search.prepared import read_source
from search.storage.database import open_storage
from search.study import load_study
from studies.spec import SourceSpec

STRENGTHS = (0, 1, 2, 3)  # 0: as they are
MISSED = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--study", default="pneumonia")
    options = parser.parse_args()
    home = Home(options.home)
    stored = load_study(options.study, open_storage(home.storage_url, create=False))
    prepared = read_source(SourceSpec(source=options.folder), home)
    kept = KeptNetworks(home.networks(stored.study_name, stored.user_attrs["uid"]))
    print("| trial | " + " | ".join("as they are" if k == 0 else f"strength {k}" for k in STRENGTHS) + " |")
    print("|---|" + "---|" * len(STRENGTHS))
    found = []
    for trial in sorted(records.ranked(stored.get_trials(deepcopy=False)), key=lambda trial: trial.number):
        network = kept.file(trial.user_attrs["spec_digest"])
        if network.is_file():
            spec = codec.from_json(TrialSpec, trial.user_attrs["spec"])
            role = preprocess.open_role(prepared.arrays_for(spec.data), "validation")
            y = np.asarray(role.y)
            found.append(_scores(network, np.asarray(role.x), y))
            print(f"| {trial.number} | {_row(found[-1], y)} |", flush=True)
    if found:
        print(f"| average | {_row([average([scores[k] for scores in found]) for k in STRENGTHS], y)} |")


def framed(pixels: Pixels, strength: int) -> Pixels:
    """Return `pixels` (h, w, c) tighter, lower and on a lighter background."""
    matrix = pictures.affine(zoom=(1.02 + 0.06 * strength, 1.04 + 0.08 * strength), shift=(0.0, 0.01 + 0.02 * strength))
    return pictures.tone(pictures.warp(pixels, matrix), black=0.03)


def _scores(network: Path, x: Pixels, y: np.ndarray) -> list[np.ndarray]:
    """Return the scores (n,) under each strength; those of the ill are the same under all."""
    engine = forward.of_file(network)
    plain = engine.scores(x)
    found = [plain]
    for strength in STRENGTHS[1:]:
        scores = plain.copy()
        scores[y == 0] = engine.scores(np.stack([framed(pixels, strength) for pixels in x[y == 0]]))
        found.append(scores)
    return found


def _row(scores: Sequence[np.ndarray], y: np.ndarray) -> str:
    return " | ".join(f"{metrics.auc(y, s):.4f} / {_specificity(s, y):.3f}" for s in scores)


def _specificity(scores: np.ndarray, y: np.ndarray) -> float:
    return float((scores[y == 0] < np.quantile(scores[y == 1], MISSED)).mean())


if __name__ == "__main__":
    main()
