"""How often the intervals of proportions hold the truth where patients have several images.

`python -m benchmarks.coverage` prints a line a setting, then the range of each interval over all of them. About a
minute on one core.
"""

from itertools import product

import numpy as np

from pneumo_core.scoring.intervals import clustered, wilson

SHARES, LIKENESS, PATIENTS = (0.9, 0.97, 0.99), (0.01, 0.3, 0.6, 0.9), (60, 150, 300)
N_IMAGES = (1, 1, 1, 2, 3, 4, 6)  # of a patient, equally often
N_DRAWS = 1000


def draw(generator: np.random.Generator, n_patients: int, share: float, likeness: float) -> tuple[np.ndarray, ...]:
    """Return hits and patients, (n,) each: beta-binomial with the intraclass correlation `likeness`."""
    groups = np.repeat(np.arange(n_patients), generator.choice(N_IMAGES, n_patients))
    odds = (1 - likeness) / likeness
    chance = generator.beta(share * odds, (1 - share) * odds, n_patients)
    return generator.random(len(groups)) < chance[groups], groups


def coverage(n_patients: int, share: float, likeness: float, n_draws: int = N_DRAWS) -> tuple[float, float]:
    """Return the shares of draws in which the clustered interval and Wilson's by image hold `share`."""
    generator = np.random.default_rng(0)
    inside = np.zeros(2)
    for _ in range(n_draws):
        hits, groups = draw(generator, n_patients, share, likeness)
        for i, found in enumerate((clustered(hits, groups), wilson(int(hits.sum()), len(hits)))):
            inside[i] += found.low <= share <= found.high
    return float(inside[0] / n_draws), float(inside[1] / n_draws)


def main() -> None:
    """Print the table."""
    rows = []
    for share, likeness, n_patients in product(SHARES, LIKENESS, PATIENTS):
        rows.append(coverage(n_patients, share, likeness))
        where = f"share {share:g}, likeness {likeness:g}, {n_patients} patients"
        print(f"{where}: clustered {rows[-1][0]:.3f}, by image {rows[-1][1]:.3f}")
    low, high = np.min(rows, axis=0), np.max(rows, axis=0)
    print(f"clustered {low[0]:.3f} to {high[0]:.3f}, by image {low[1]:.3f} to {high[1]:.3f}")


if __name__ == "__main__":
    main()
