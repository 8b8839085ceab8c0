"""Parts of the patients."""

from typing import Any

import numpy as np

from pneumo_core.training import patients


class Images:
    """Forty patients of three images each, a quarter of them negative."""

    groups_train = np.repeat(np.arange(40), 3).astype(str)
    y_train = np.repeat(np.arange(40) % 4 > 0, 3).astype(np.uint8)


def rows(share: float, seed: int = 1) -> Any:
    return patients.rows(Images(), share, seed)  # type: ignore[arg-type]


def test_all_are_seen_without_a_share() -> None:
    assert rows(1.0) is None


def test_a_share_is_of_whole_patients_of_each_class() -> None:
    found = rows(0.25)
    groups = Images.groups_train[found]
    assert len(np.unique(groups)) == 11  # 2.5 of 10 and 7.5 of 30, rounded up
    assert len(found) == 33
    assert Images.y_train[found].sum() == 24


def test_a_smaller_share_of_the_same_seed_is_part_of_a_larger_one() -> None:
    assert set(rows(0.25)) < set(rows(0.5))
    assert set(rows(0.25, seed=2)) != set(rows(0.25))
