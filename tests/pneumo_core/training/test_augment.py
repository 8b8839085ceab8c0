"""Random changes of training images."""

from typing import Any

import numpy as np
import pytest

from pneumo_core.specs import AugmentSpec
from pneumo_core.training import augment

EVERYTHING = AugmentSpec(
    flip=0.5,
    rotation_deg=20,
    shift=0.1,
    shear_deg=10,
    zoom=0.1,
    crop=0.2,
    aspect=0.2,
    contrast=0.3,
    brightness=0.1,
    gamma=0.4,
    black=0.1,
    blur=0.07,
    sharpen=1.0,
    coarsen=0.1,
    noise=0.05,
    border=0.1,
    erase=0.3,
    jpeg=0.5,
)


def images(n: int = 8, side_px: int = 20, channels: int = 1) -> np.ndarray:
    """Return smooth images, all different, dark on the left."""
    row = np.linspace(20, 200, side_px)
    x = row[None, None, :, None] + 5 * np.arange(n)[:, None, None, None] + np.arange(side_px)[None, :, None, None]
    return np.broadcast_to(x, (n, side_px, side_px, channels)).astype(np.uint8)


def changed(spec: AugmentSpec, x: np.ndarray, seed: int = 1) -> np.ndarray:
    return augment.apply(spec, x, augment.draw(spec, len(x), seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "field",
    [
        {"flip": 1.0},
        {"rotation_deg": 30.0},
        {"shift": 0.3},
        {"shear_deg": 20.0},
        {"zoom": 0.5},
        {"crop": 0.5},
        {"contrast": 0.5},
        {"aspect": 0.5},
        {"brightness": 0.3},
        {"gamma": 1.0},
        {"black": 0.3},
        {"blur": 0.1},
        {"sharpen": 5.0},
        {"coarsen": 0.2},
        {"noise": 0.2},
        {"border": 0.3},
        {"erase": 0.5},
        {"jpeg": 1.0},
    ],
    ids=lambda field: next(iter(field)),
)
def test_every_field_changes_images_and_keeps_their_form(field: dict[str, Any], channels: int) -> None:
    x = images(channels=channels, side_px=64)
    x[:, 20:30] //= 2
    before = x.copy()

    y = changed(AugmentSpec(**field), x)

    assert y.shape == x.shape
    assert y.dtype == np.uint8
    assert (y != x).any()
    np.testing.assert_array_equal(x, before)


def test_nothing_asked_nothing_changed() -> None:
    np.testing.assert_array_equal(changed(AugmentSpec(), images()), images())
    changes = augment.none((2, 4))[1]
    np.testing.assert_array_equal(augment.apply(EVERYTHING, images(4), changes), images(4))


def test_the_change_of_an_image_does_not_depend_on_its_batch() -> None:
    x = images()
    changes = augment.draw(EVERYTHING, len(x), 1)
    together = augment.apply(EVERYTHING, x, changes)

    for rows in ([3], [7, 0, 2]):
        np.testing.assert_array_equal(augment.apply(EVERYTHING, x[rows], changes[np.array(rows)]), together[rows])


def test_the_seed_decides() -> None:
    np.testing.assert_array_equal(changed(EVERYTHING, images(), 1), changed(EVERYTHING, images(), 1))
    assert (changed(EVERYTHING, images(), 1) != changed(EVERYTHING, images(), 2)).any()


def test_turning_one_change_on_leaves_the_others_as_they_were() -> None:
    alone, both = (augment.draw(spec, 50, 3) for spec in (AugmentSpec(flip=0.5), AugmentSpec(flip=0.5, jpeg=0.5)))

    np.testing.assert_array_equal(alone.flip, both.flip)
    assert 10 < alone.flip.sum() < 40


def test_a_flip_mirrors_left_and_right() -> None:
    np.testing.assert_array_equal(changed(AugmentSpec(flip=1.0), images()), images()[:, :, ::-1])


def test_a_shift_moves_pixels_and_repeats_the_edge() -> None:
    spec, x = AugmentSpec(shift=0.5), images(1, 20)
    whole = augment.draw(spec, 1, 0)
    whole.affine[0] = [[1, 0, 0.25], [0, 1, 0]]  # reads 5 px further right

    y = augment.apply(spec, x, whole)

    np.testing.assert_array_equal(y[0, :, :15], x[0, :, 5:])
    np.testing.assert_array_equal(y[0, :, 15:], np.repeat(x[0, :, -1:], 5, axis=1))


def test_a_quarter_turn_is_exact() -> None:
    spec, x = AugmentSpec(rotation_deg=90), images(1, 21)
    whole = augment.draw(spec, 1, 0)
    whole.affine[0] = [[0, -1, 0], [1, 0, 0]]

    np.testing.assert_array_equal(augment.apply(spec, x, whole)[0], np.rot90(x[0]))


def test_contrast_keeps_the_mean() -> None:
    x = images()
    y = changed(AugmentSpec(contrast=0.2), x)

    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), x.mean(axis=(1, 2, 3)), atol=0.5)


def test_the_strongest_change_never_reads_beyond_the_padding() -> None:
    spec = AugmentSpec(rotation_deg=180, shear_deg=60, zoom=0.9, crop=0.9, shift=0.5, aspect=1.0)

    assert changed(spec, np.full((200, 12, 12, 1), 99, np.uint8)).min() == 99  # Pillow would fill with 0


def test_a_length_means_the_same_at_every_image_size() -> None:
    """The same draw on twice the pixels is the same picture, twice as large."""
    spec = AugmentSpec(
        rotation_deg=10, shift=0.1, zoom=0.2, crop=0.3, aspect=0.3, border=0.2, erase=0.3, black=0.2, gamma=0.5
    )
    x = images(4, 32)
    small, large = changed(spec, x), changed(spec, x.repeat(2, axis=1).repeat(2, axis=2))

    halved = large.reshape(4, 32, 2, 32, 2, 1).mean(axis=(2, 4))
    assert np.abs(halved - small).mean() < 4


def test_a_crop_is_a_window_anywhere_inside_the_image() -> None:
    affine = augment.draw(AugmentSpec(crop=0.4), 500, 0).affine
    side, place = affine[:, 0, 0], affine[:, :, 2]

    np.testing.assert_array_equal(affine[:, 1, 1], side)
    assert 0.6 <= side.min() < 0.65
    assert 0.95 < side.max() <= 1
    assert (np.abs(place) <= (1 - side[:, None]) / 2).all()  # the window's centre, about that of the image
    assert (np.ptp(place, axis=0) > 0.3).all()


def test_aspect_stretches_width_against_height() -> None:
    spec = AugmentSpec(aspect=0.5)
    linear = augment.draw(spec, 200, 0).affine[:, :, :2]

    ratio = linear[:, 1, 1] / linear[:, 0, 0]
    assert 1 / 1.5 <= ratio.min() < 0.75
    assert 1.35 < ratio.max() <= 1.5
    np.testing.assert_allclose(linear[:, 0, 0] * linear[:, 1, 1], 1)
