"""A kernel over flattened maps, taken to images of another size."""

import keras
import numpy as np
import pytest

from pneumo_core.models import model
from pneumo_core.specs import CnnSpec, DenseSpec, ModelSpec
from pneumo_core.training import stretching


def averaged(maps: np.ndarray, side: int) -> np.ndarray:
    """Return maps (n, m, m, c) averaged over `side` × `side` equal places, by way of the common multiple."""
    fine = maps.repeat(side, axis=1).repeat(side, axis=2)  # (n, m * side, m * side, c)
    n, whole, _, c = fine.shape
    step = whole // side
    return fine.reshape(n, side, step, side, step, c).mean(axis=(2, 4))


@pytest.mark.parametrize(("before", "after"), [(4, 6), (6, 8), (2, 4), (3, 7), (5, 5), (1, 3)])
def test_the_stretched_kernel_scores_maps_as_the_old_one_scored_their_averages(before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(before * before * 3, 5))
    like = np.zeros((after * after * 3, 5))
    maps = rng.normal(size=(4, after, after, 3))

    found = stretching.stretched(kernel, like, (after, after, 3), keeps_sum=True)

    assert found is not None
    expected = averaged(maps, before).reshape(4, -1) @ kernel
    np.testing.assert_allclose(maps.reshape(4, -1) @ found, expected, atol=1e-10)


def test_moments_keep_their_size_whatever_the_number_of_places() -> None:
    like = np.zeros((36, 2), np.float32)
    found = stretching.stretched(np.full((16, 2), 0.3, np.float32), like, (6, 6, 1), keeps_sum=False)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 0.3, rtol=1e-6)


def test_what_is_not_laid_out_like_the_maps_is_not_stretched() -> None:
    like = np.zeros((36, 2))
    for kernel, maps in (
        (np.zeros((16, 2)), None),
        (np.zeros((16, 3)), (6, 6, 1)),
        (np.zeros((15, 2)), (6, 6, 1)),
        (np.zeros((16, 2)), (5, 5, 1)),
        (np.zeros(16), (6, 6, 1)),
    ):
        assert stretching.stretched(kernel, like, maps, keeps_sum=True) is None
    assert stretching.fitted(np.zeros((36, 2), np.float32), like, (6, 6, 1), True) is None
    same = np.ones((36, 2))
    assert stretching.fitted(same, like, None, True) is same


@pytest.mark.parametrize(
    ("spec", "maps"),
    [
        (CnnSpec(filters=(4, 8)), (3, 3, 8)),
        (CnnSpec(filters=(4, 8), head="average"), None),
        (DenseSpec(), (12, 12, 1)),
    ],
    ids=["flatten", "average", "dense"],
)
def test_the_maps_of_our_networks_are_found(spec: ModelSpec, maps: stretching.Maps | None) -> None:
    network = model.build(spec, (12, 12, 1))
    assert stretching.flattened_maps(network, np.zeros((1, 12, 12, 1), np.uint8)) == maps


def test_networks_that_flatten_twice_are_left_alone() -> None:
    pixels = keras.Input((4, 4, 1))
    both = keras.layers.Concatenate()([keras.layers.Flatten()(pixels), keras.layers.Flatten()(pixels)])
    assert stretching.flattened_maps(keras.Model(pixels, both), np.zeros((1, 4, 4, 1), np.uint8)) is None
