from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.data import reading, rows
from pneumo_core.specs import DataSpec
from tests.pneumo_core.pictures import DATA, encoded, needs_data, pixels, write

SPECS = [DataSpec(image_size_px=16), DataSpec(image_size_px=24, resize="pad"), DataSpec(image_size_px=16, channels=3)]


def test_pad_keeps_the_aspect_ratio_on_black() -> None:
    wide = np.full((20, 80, 1), 200, np.uint8)
    squashed, padded = (rows.to_size(wide, DataSpec(image_size_px=32, resize=how)) for how in ("squash", "pad"))
    assert squashed.min() == 200
    assert np.array_equal(np.flatnonzero(padded[:, 16, 0]), np.arange(12, 20))
    assert padded[12:20].min() == 200


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([[0], [255]], np.uint8), (64, 128))[:, :, None]
    small = rows.to_size(stripes, DataSpec(image_size_px=16))
    assert np.abs(small.astype(int) - 127).max() < 20


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 500, 1), (500, 1, 1)])
def test_odd_shapes_can_be_padded(shape: tuple[int, int, int]) -> None:
    padded = rows.to_size(np.full(shape, 90, np.uint8), DataSpec(image_size_px=16, resize="pad"))
    assert padded.shape == (16, 16, 1)
    assert padded.max() == 90


@pytest.mark.parametrize(
    ("data", "way"),
    [
        (DataSpec(image_size_px=32), (1, 448)),
        (DataSpec(image_size_px=224), (1, 448)),
        (DataSpec(image_size_px=225), (1, 450)),
        (DataSpec(image_size_px=64, channels=3), (3, 448)),
    ],
)
def test_small_targets_share_one_decoding(data: DataSpec, way: tuple[int, int]) -> None:
    assert rows.decoding(data) == way


def test_a_file_is_decoded_once_for_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.jpeg", 5, width=1200, height=1000)
    alone = [rows.of_file(file, [data])[0] for data in SPECS]
    decoded, decode = list[Any](), reading.decode
    monkeypatch.setattr(
        reading, "decode", lambda *args, **more: decoded.append(more["channels"]) or decode(*args, **more)
    )
    together = rows.of_file(file, SPECS)
    assert decoded == [1, 3]
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_pixels_are_those_of_this_version() -> None:
    """Fails where the pixels change without a new `PREPROCESSING_VERSION`, which old caches and bundles rely on."""
    image = encoded(pixels(5, width=50, height=30))
    sums = [int(rows.of_file(image, [DataSpec(image_size_px=16, resize=how)])[0].sum()) for how in ("squash", "pad")]
    assert (rows.PREPROCESSING_VERSION, sums) == (3, [31700, 19809])


@needs_data
@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_real_originals_hardly_differ_from_a_full_decode(resize: Any) -> None:
    data = DataSpec(image_size_px=64, resize=resize)
    for file in sorted((DATA / "originals").rglob("*.jpeg"))[::15]:
        quick = rows.of_file(file, [data])[0].astype(float)
        full = rows.to_size(reading.decode(file, channels=1), data).astype(float)
        assert np.abs(quick - full).mean() < 3  # grey levels of 255
