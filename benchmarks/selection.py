"""How well validation chooses networks that work on changed images, and what averaging adds.

    python -m benchmarks.selection FOLDER --home RUNS [--home RUNS ...] [--study pneumonia]

Takes the networks that finished searches left under each home. Each family of shifts is left out in turn: trials are
ranked by validation without it, and judged on test images under it alone. Prints, over the networks, the rank
correlation of each way to choose with that judgement and the judgement of the network that it picks; then averages of k
networks: of all subsets, of the best k, of a greedy choice with replacement (Caruana et al. 2004), and of the first k
by the study's own order, as `pneumo finalize` takes them, which no family is left out of. Then the same where the
normal test children are framed as elsewhere (`benchmarks.framing`, strongest), which no shift imitates. All images are
of the archive that the networks were trained on: what helps here may not suffice elsewhere.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial
from scipy.stats import spearmanr

from benchmarks import framing, kept
from pneumo_core import shifts
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.models import forward
from pneumo_core.scoring import metrics
from pneumo_core.scoring.average import average
from pneumo_core.specs import DataSpec
from search import records

FRAMED = "normal children framed"
SIZES = (1, 2, 3, 5, 7)
N_SUBSETS = 200


@dataclass(frozen=True, kw_only=True)
class Network:
    """One trained network: what it gave to validation, and to test images under each family of shifts."""

    name: str
    stored: FrozenTrial
    scores: np.ndarray  # (n_validation,)
    shifted: np.ndarray  # (n_validation,)
    test: Mapping[str, np.ndarray]  # (n_test,) by family, and `FRAMED`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--home", action="append", required=True, type=Path)
    parser.add_argument("--study", default="pneumonia")
    options = parser.parse_args()
    networks: list[Network] = []
    changed: dict[DataSpec, dict[str, np.ndarray]] = {}
    for home in options.home:
        for network in kept.networks(options.folder, home, options.study):
            if network.data not in changed:
                changed[network.data] = _changed(network.role("test"))
            networks.append(_scored(f"{home.name}/{network.trial}", network, changed[network.data]))
            y, y_test = (np.asarray(network.role(role).y) for role in ("validation", "test"))
            print(f"scored {networks[-1].name}", flush=True)
    print(f"{len(networks)} networks, {len(y)} validation and {len(y_test)} test images\n")
    for title, changes in {"one family left out": tuple(shifts.FAMILIES), FRAMED: (FRAMED,)}.items():
        print(f"{title}\n\n{_choosing(networks, y, y_test, changes)}\n\n{_averaging(networks, y, y_test, changes)}\n")


def _changed(role: RoleArrays) -> dict[str, np.ndarray]:
    x, y = np.asarray(role.x), np.asarray(role.y)
    found = {family: shifts.apply_assigned(tuple(names), x) for family, names in shifts.FAMILIES.items()}
    strongest = framing.STRENGTHS[-1]
    framed = [pixels if ill else framing.framed(pixels, strongest) for pixels, ill in zip(x, y, strict=True)]
    return found | {FRAMED: np.stack(framed)}


def _scored(name: str, network: kept.Kept, changed: Mapping[str, np.ndarray]) -> Network:
    engine = forward.of_file(network.file)
    return Network(
        name=name,
        stored=network.stored,
        scores=np.array(network.result.scores),
        shifted=np.array(network.result.shifted_scores),
        test={family: engine.scores(x) for family, x in changed.items()},
    )


Chooser = Callable[[Network, np.ndarray, np.ndarray], float]
"""From a network, labels of validation and which shifted images may be used, (n,) bool, to what ranks it."""


def _clean(network: Network, y: np.ndarray, seen: np.ndarray) -> float:
    return metrics.auc(y, network.scores)


def _mean(network: Network, y: np.ndarray, seen: np.ndarray) -> float:
    return float(np.mean([metrics.auc(y, network.scores), metrics.auc(y[seen], network.shifted[seen])]))


def _pooled(network: Network, y: np.ndarray, seen: np.ndarray) -> float:
    return metrics.auc(*_pool(network, y, seen))


def _pool(network: Network, y: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([y, y[seen]]), np.concatenate([network.scores, network.shifted[seen]])


WAYS: Mapping[str, Chooser] = {
    "clean validation AUC": _clean,
    "mean of clean and shifted AUC": _mean,
    "pooled AUC": _pooled,
}


def _choosing(networks: Sequence[Network], y: np.ndarray, y_test: np.ndarray, changes: Sequence[str]) -> str:
    rows = []
    for way, value in WAYS.items():
        correlations, picks = [], []
        for change in changes:
            ranks = [value(network, y, _seen(change, len(y))) for network in networks]
            truth = [metrics.auc(y_test, network.test[change]) for network in networks]
            correlations.append(float(spearmanr(ranks, truth).statistic))
            picks.append(truth[int(np.argmax(ranks))])
        rows.append(f"| {way} | {np.mean(correlations):.2f} | {np.mean(picks):.4f} |")
    head = "| chosen by | rank correlation with test AUC there | AUC there of the pick |\n"
    return head + "|---|---|---|\n" + "\n".join(rows)


def _seen(left_out: str, n: int) -> np.ndarray:
    """Return which of the validation images are under a shift of another family, (n,)."""
    given = np.array(shifts.ALL)[shifts.assigned(shifts.ALL, n)]
    return ~np.isin(given, list(shifts.FAMILIES.get(left_out, ())))


def _averaging(networks: Sequence[Network], y: np.ndarray, y_test: np.ndarray, changes: Sequence[str]) -> str:
    rows = [
        "| k | any k: test AUC there | the best k by pooled AUC | greedy | the study's order |",
        "|---|---|---|---|---|",
    ]
    for k in (size for size in SIZES if size <= len(networks)):
        subsets = _subsets(len(networks), k)
        of_subsets, chosen = [], []
        for change in changes:
            seen = _seen(change, len(y))
            best = np.argsort([-_pooled(network, y, seen) for network in networks])[:k].tolist()
            ways = (best, _greedy(networks, y, seen, k), _by_the_studys_order(networks)[:k])
            chosen.append([_test_auc(networks, members, change, y_test) for members in ways])
            of_subsets.append([_test_auc(networks, subset, change, y_test) for subset in subsets])
        drawn = np.mean(of_subsets, axis=0)
        cells = [str(k), f"{drawn.mean():.4f} ± {drawn.std():.4f}", *(f"{auc:.4f}" for auc in np.mean(chosen, axis=0))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _by_the_studys_order(networks: Sequence[Network]) -> list[int]:
    ranked = records.ranked([network.stored for network in networks])
    return [next(i for i, network in enumerate(networks) if network.stored is trial) for trial in ranked]


def _subsets(n: int, k: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    every = list(combinations(range(n), k)) if n < 16 else []
    if every and len(every) <= N_SUBSETS:
        return every
    return [tuple(rng.choice(n, k, replace=False).tolist()) for _ in range(N_SUBSETS)]


def _greedy(networks: Sequence[Network], y: np.ndarray, seen: np.ndarray, k: int) -> list[int]:
    """Return `k` networks, each the one that helps the pooled AUC of those before it most; with replacement."""
    labels = _pool(networks[0], y, seen)[0]
    scores = [_pool(network, y, seen)[1] for network in networks]
    chosen: list[int] = []
    for _ in range(k):
        values = [metrics.auc(labels, average([scores[i] for i in (*chosen, new)])) for new in range(len(networks))]
        chosen.append(int(np.argmax(values)))
    return chosen


def _test_auc(networks: Sequence[Network], members: Sequence[int], change: str, y_test: np.ndarray) -> float:
    return metrics.auc(y_test, average([networks[i].test[change] for i in members]))


if __name__ == "__main__":
    main()
