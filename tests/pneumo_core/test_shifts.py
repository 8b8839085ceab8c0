"""Named changes of radiographs."""

import numpy as np
import pytest

from pneumo_core import shifts


def radiographs(n: int = 4, side_px: int = 64, channels: int = 1) -> np.ndarray:
    """Return smooth pictures with a bright spine between dark lungs, all different."""
    x, y = np.meshgrid(np.linspace(-1, 1, side_px), np.linspace(-1, 1, side_px))
    lungs = 120 - 80 * np.exp(-((np.abs(x) - 0.45) ** 2) * 18 - y**2 * 2) + 40 * np.tanh(6 * np.sin(24 * y))
    return np.stack([np.repeat((lungs + 4 * i).clip(0, 255)[:, :, None], channels, 2) for i in range(n)]).astype(
        np.uint8
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", shifts.ALL)
def test_every_shift_changes_every_picture_and_is_the_same_each_time(name: str, channels: int) -> None:
    x = radiographs(channels=channels)

    y = shifts.apply(name, x)

    assert y.shape == x.shape
    assert y.dtype == np.uint8
    assert all((changed != plain).any() for changed, plain in zip(y, x, strict=True))
    np.testing.assert_array_equal(y, shifts.apply(name, x))


@pytest.mark.parametrize("name", [name for name in shifts.ALL if name != "compressed"])  # JPEG has blocks of 8 pixels
def test_a_shift_means_the_same_at_every_size(name: str) -> None:
    """What differs from the plain picture differs about as much in one of twice the pixels."""
    small, large = (
        np.abs(shifts.apply(name, x).astype(float) - x).mean()
        for x in (radiographs(side_px=96), radiographs(side_px=192))
    )

    assert small == pytest.approx(large, rel=0.35, abs=1.5)


def test_each_image_gets_one_shift_all_equally_often() -> None:
    names = shifts.ALL[:5]
    which = shifts.assigned(names, 100)

    assert np.bincount(which).tolist() == [20] * 5
    np.testing.assert_array_equal(which, shifts.assigned(names, 100))
    x = radiographs(10)
    changed = shifts.apply_assigned(names, x)
    for row, k in enumerate(shifts.assigned(names, 10)):
        np.testing.assert_array_equal(changed[row], shifts.apply(names[k], x)[row])


def test_an_unknown_shift_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"blured.*blurred"):
        shifts.check(("blured",))
