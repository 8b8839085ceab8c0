"""Validation images under shifts, kept as arrays."""

from pathlib import Path

import numpy as np
import pytest

from pneumo_core import shifts
from pneumo_core.data import dataset, preprocess, shifted
from pneumo_core.data.split import assign_roles
from pneumo_core.specs import DataSpec, SplitSpec

NAMES = ("dark", "blurred", "cropped")


@pytest.fixture
def arrays(phantoms: Path, tmp_path: Path) -> Path:
    manifest = dataset.scan(phantoms, cache_dir=tmp_path)
    return preprocess.prepare(
        manifest, assign_roles(manifest, SplitSpec()), DataSpec(image_size_px=16), cache_dir=tmp_path
    )


def test_each_validation_image_is_kept_under_its_shift(arrays: Path) -> None:
    found = shifted.open_fit_arrays(arrays, NAMES)
    assert found.x_shifted is not None
    np.testing.assert_array_equal(found.x_shifted, shifts.apply_assigned(NAMES, np.asarray(found.x_validation)))
    assert isinstance(found.x_shifted, np.memmap)


def test_without_shifts_nothing_is_made(arrays: Path) -> None:
    assert shifted.open_fit_arrays(arrays, ()).x_shifted is None
    assert not (arrays.parent.parent / "shifted").exists()


def test_what_is_damaged_is_made_anew(arrays: Path) -> None:
    whole = np.array(shifted.open_shifted(arrays, NAMES))
    [file] = (arrays.parent.parent / "shifted").glob("*/x.npy")
    file.write_bytes(file.read_bytes()[:-10])
    np.testing.assert_array_equal(shifted.open_shifted(arrays, NAMES), whole)
