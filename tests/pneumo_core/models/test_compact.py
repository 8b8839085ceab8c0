"""Saved networks in fewer bytes."""

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core.models import compact, forward, model, network
from pneumo_core.specs import CnnSpec
from tests.pneumo_core.models.test_forward import pixels, woken


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keras.utils.set_random_seed(0)
    built = woken(model.build(CnnSpec(filters=(16, 32), normalization="batch", units=(64,)), (32, 32, 1)))
    built.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_file_is_smaller_and_scores_the_same_in_either_engine(file: Path) -> None:
    x, before = pixels(32), forward.of_file(file).scores(pixels(32))
    into = file.with_name("compact.keras")

    moved = compact.write(file, into, x)

    assert 0 < moved < compact.TOLERANCE
    assert into.stat().st_size < 0.75 * file.stat().st_size
    for engine in (forward.of_file(into), forward.with_keras(network.load(into))):
        np.testing.assert_allclose(engine.scores(x), before, atol=moved + 1e-5)


def test_a_tolerance_that_no_rounding_meets_keeps_every_bit(file: Path) -> None:
    into = file.with_name("compact.keras")

    assert compact.write(file, into, pixels(32), tolerance=0.0) == 0.0

    for kept, given_ in zip(network.load(into).weights, network.load(file).weights, strict=True):
        np.testing.assert_array_equal(kept, given_)


def test_the_same_network_gives_the_same_bytes(file: Path) -> None:
    written = [file.with_name(f"{i}.keras") for i in range(2)]
    for into in written:
        compact.write(file, into, pixels(32))

    assert written[0].read_bytes() == written[1].read_bytes()


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=50), st.sampled_from(compact.BITS))
def test_rounding_moves_a_weight_by_half_a_step_at_most(values: list[float], n_bits: int) -> None:
    weights = np.array(values, np.float32)

    np.testing.assert_allclose(
        compact.rounded(weights, n_bits).astype(float), weights.astype(float), rtol=2.0**-n_bits / 2, atol=2.0**-126
    )
