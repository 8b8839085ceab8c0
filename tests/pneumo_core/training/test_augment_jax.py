"""Changes made on the device, against those that Pillow and NumPy make."""

from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.specs import AugmentSpec
from pneumo_core.training import augment
from pneumo_core.training.augment import Changes
from tests.pneumo_core.training.test_augment import EVERYTHING

if keras.backend.backend() != "jax":
    pytest.skip("images are changed on the device on JAX only", allow_module_level=True)

import jax

from pneumo_core.training import augment_jax

EXACT, ROUNDED, SMOOTHED = (0.0, 0), (0.01, 1), (0.3, 3)  # mean and largest difference in grey levels
# Pillow rounds after each of the six passes of a blur, what sharpening then takes times its strength
SHARPENED, COMPRESSED = (1.5, 12), (0.4, 30)  # a coefficient that is rounded to the other side moves its whole block
FIELDS: dict[str, tuple[float, tuple[float, int]]] = {
    "flip": (1.0, EXACT),
    "rotation_deg": (30.0, ROUNDED),
    "shift": (0.3, ROUNDED),
    "shear_deg": (20.0, ROUNDED),
    "zoom": (0.5, ROUNDED),
    "crop": (0.5, ROUNDED),
    "aspect": (0.5, ROUNDED),
    "contrast": (0.5, ROUNDED),
    "brightness": (0.3, ROUNDED),
    "gamma": (1.0, ROUNDED),
    "black": (0.3, ROUNDED),
    "blur": (0.1, SMOOTHED),
    "sharpen": (2.0, SHARPENED),
    "coarsen": (0.2, SMOOTHED),
    "border": (0.3, EXACT),
    "erase": (0.5, EXACT),
    "jpeg": (1.0, COMPRESSED),
}


def pictures(n: int = 24, height: int = 29, width: int = 22) -> np.ndarray:
    """Return images with edges and grain, neither square nor of whole JPEG blocks."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 235, (n, 6, 6, 1)).repeat(5, axis=1).repeat(4, axis=2)[:, :height, :width]
    return (coarse + rng.normal(0, 6, coarse.shape)).clip(0, 255).astype(np.uint8)


@cache
def program(spec: AugmentSpec) -> Any:
    """Return `apply` compiled: for all changes at once where it can be, as compiling is what takes time here."""
    return jax.jit(lambda x, changes: augment_jax.apply(spec, x, Changes(**changes)))


def on_device(x: np.ndarray, changes: Changes, spec: AugmentSpec = EVERYTHING) -> np.ndarray:
    return np.asarray(program(spec)(x, vars(changes)))


def difference(changed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(changed.astype(int) - expected.astype(int))


@pytest.mark.parametrize("name", FIELDS)
def test_each_change_is_that_of_the_host(name: str) -> None:
    strength, (mean, largest) = FIELDS[name]
    spec, x = AugmentSpec(**{name: strength}), pictures()
    changes = augment.draw(spec, len(x), 3)
    expected = augment.apply(spec, x, changes)

    way = (augment.WAYS.index(name) + 0.5) / len(augment.WAYS) if name in augment.WAYS else 0.0
    found = difference(on_device(x, replace(changes, way=np.full(len(x), way))), expected)

    assert difference(x, expected).mean() > 1
    assert found.mean() <= mean
    assert found.max() <= largest


def test_so_are_all_of_them_one_after_the_other() -> None:
    x = pictures()
    changes = augment.draw(replace(EVERYTHING, noise=0.0), len(x), 5)

    assert difference(on_device(x, changes), augment.apply(EVERYTHING, x, changes)).mean() < 1


def test_colours_are_changed_alike_and_their_jpegs_left_to_the_host() -> None:
    x = pictures().repeat(3, axis=3) // np.array([1, 2, 3], np.uint8)
    spec = AugmentSpec(rotation_deg=20, sharpen=1.0, contrast=0.3, erase=0.3)
    changes = augment.draw(spec, len(x), 5)

    assert difference(on_device(x, changes, spec), augment.apply(spec, x, changes)).mean() < 1
    assert augment_jax.serves(spec, x.shape[1:])
    assert not augment_jax.serves(EVERYTHING, x.shape[1:])


def test_noise_has_its_deviation_in_each_image_and_none_of_another() -> None:
    grey = np.full_like(pictures(), 128)
    changes = augment.draw(AugmentSpec(noise=0.1), len(grey), 1)
    changes = replace(changes, noise=np.linspace(0.02, 0.1, len(grey)))

    noise = on_device(grey, changes).reshape(len(grey), -1) - 128.0

    np.testing.assert_allclose(noise.std(axis=1), 255 * changes.noise, rtol=0.15, atol=0.4)
    assert np.abs(np.corrcoef(noise)[np.triu_indices(len(grey), 1)]).max() < 0.2


def test_the_change_of_an_image_does_not_depend_on_its_batch() -> None:
    x = pictures()
    changes = augment.draw(EVERYTHING, len(x), 1)
    together = on_device(x, changes)

    turned = np.arange(len(x))[::-1]
    np.testing.assert_array_equal(on_device(x[turned], changes[turned]), together[turned])
    assert not np.array_equal(together, on_device(x, augment.draw(EVERYTHING, len(x), 2)))


def test_no_change_leaves_every_pixel() -> None:
    np.testing.assert_array_equal(on_device(pictures(), augment.none((len(pictures()),))), pictures())
