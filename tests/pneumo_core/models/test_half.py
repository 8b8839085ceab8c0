"""Saved networks of half the size."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pneumo_core.models import forward, half, model, network
from pneumo_core.specs import CnnSpec
from tests.pneumo_core.models.test_forward import pixels, woken

# Keras 3.15 reads its variables in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keras.utils.set_random_seed(0)
    built = woken(model.build(CnnSpec(filters=(16, 32), normalization="batch", units=(64,)), (32, 32, 1)))
    built.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_file_has_half_the_size_and_scores_the_same_in_either_engine(file: Path) -> None:
    x, n_bytes, before = pixels(32), file.stat().st_size, forward.of_file(file).scores(pixels(32))

    moved = half.halve(file, x)

    assert moved is not None
    assert 0 < moved < half.TOLERANCE
    assert file.stat().st_size < 0.6 * n_bytes
    for engine in (forward.of_file(file), forward.with_keras(network.load(file))):
        np.testing.assert_allclose(engine.scores(x), before, atol=moved + 1e-5)
    assert [path.name for path in file.parent.iterdir()] == ["model.keras"]


def test_a_file_whose_scores_would_move_stays_as_it_is(file: Path) -> None:
    content = file.read_bytes()

    assert half.halve(file, pixels(32), tolerance=1e-9) is None

    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == ["model.keras"]
