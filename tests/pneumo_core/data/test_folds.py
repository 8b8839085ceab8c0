"""Folds: no patient in two, classes spread, every image held out once."""

import numpy as np
import pytest

from pneumo_core.data import folds
from pneumo_core.errors import DataError


def people(n_patients: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, n_patients)
    y = np.repeat((np.arange(n_patients) % 3 > 0).astype(np.uint8), sizes)
    return y, np.repeat([f"p{i}" for i in range(n_patients)], sizes)


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_no_group_is_in_two_folds_and_classes_are_spread(n_folds: int) -> None:
    y, groups = people()
    fold = folds.assign(y, groups, n_folds, 0)
    assert set(fold.tolist()) == set(range(n_folds))
    assert all(len(set(fold[groups == group])) == 1 for group in groups)
    for label in (0, 1):
        counts = np.bincount(fold[y == label], minlength=n_folds)
        assert counts.max() - counts.min() <= 4  # one patient's images


def test_the_seed_draws_the_folds_and_nothing_else_does() -> None:
    y, groups = people()
    assert np.array_equal(folds.assign(y, groups, 3, 1), folds.assign(y, groups, 3, 1))
    assert not np.array_equal(folds.assign(y, groups, 3, 1), folds.assign(y, groups, 3, 2))


def test_parts_divide_all_images_by_patient() -> None:
    y, groups = people()
    held = []
    for index in range(3):
        learn, stop, held_out = folds.parts(y, groups, 3, index, 0)
        assert sorted([*learn, *stop, *held_out]) == list(range(len(y)))
        owners = [set(groups[rows]) for rows in (learn, stop, held_out)]
        assert len(set.union(*owners)) == sum(map(len, owners))
        assert len(set(y[stop])) == 2
        held += held_out.tolist()
    assert sorted(held) == list(range(len(y)))


def test_too_few_patients_say_so() -> None:
    with pytest.raises(DataError, match="label 0 has 2 patient groups"):
        folds.assign(np.array([0, 0, 1, 1, 1]), np.array(list("abcde")), 3, 0)


def test_too_few_patients_to_stop_by_say_so() -> None:
    y, groups = np.repeat([0, 1], 8), np.arange(16).astype(str)
    with pytest.raises(DataError, match=r"beside one of 3 folds, 6 patient groups .* use more folds"):
        folds.parts(y, groups, 3, 0, 0)
    folds.parts(y, groups, 4, 0, 0)
