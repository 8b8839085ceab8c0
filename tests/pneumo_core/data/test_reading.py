import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core.data import reading
from pneumo_core.errors import DataError
from tests.pneumo_core.pictures import DATA, encoded, needs_data, pixels


def test_decodes_grey_and_colour_by_content_not_by_name(tmp_path: Path) -> None:
    file = tmp_path / "really-a-png.jpeg"
    file.write_bytes(encoded(pixels(0)))
    assert np.array_equal(reading.decode(file, channels=1)[:, :, 0], pixels(0))
    assert np.array_equal(reading.decode(file, channels=3), np.repeat(pixels(0)[:, :, None], 3, axis=2))
    assert reading.header(file) == reading.Header(width_px=40, height_px=32, mode="L", format="PNG")


@pytest.mark.parametrize("top", [255, 1023, 4095, 65535])
def test_deep_png_is_scaled_by_the_bits_it_uses(top: int) -> None:
    deep = np.linspace(0, top, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    decoded = reading.decode(encoded(deep), channels=1)[:, :, 0]
    assert np.abs(decoded - np.linspace(0, 255, 64 * 64).reshape(64, 64)).max() <= 1
    assert np.all(np.diff(decoded.ravel().astype(int)) >= 0)


def test_sixteen_bit_copy_of_eight_bits_is_the_same_image() -> None:
    grey = pixels(3).copy()
    grey[0, 0] = 255
    assert np.array_equal(reading.decode(encoded(grey.astype(np.uint16) * 257), channels=1)[:, :, 0], grey)


def test_exif_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view
    data = encoded(pixels(0), "PNG", exif=exif)
    assert np.array_equal(reading.decode(data, channels=1)[:, :, 0], np.rot90(pixels(0), -1))


def test_transparent_pixels_are_black() -> None:
    rgba = np.full((8, 8, 4), 200, np.uint8)
    rgba[:4, :, 3] = 0
    rgba[4:, :, 3] = 255
    decoded = reading.decode(encoded(rgba), channels=1)
    assert decoded[:4].max() == 0
    assert decoded[4:].min() == 200


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_channels_asked_for(mode: str, channels: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels(0)).convert(mode).save(buffer, "PNG" if mode in "1P" else "JPEG")
    assert reading.decode(buffer.getvalue(), channels=channels).shape == (32, 40, channels)


@pytest.mark.parametrize(("at_least", "expected"), [(None, 800), (400, 400), (150, 200), (90, 100), (900, 800)])
def test_large_jpegs_are_decoded_small_but_never_too_small(at_least: int | None, expected: int) -> None:
    data = encoded(pixels(0, width=800, height=800), "JPEG")
    assert reading.decode(data, channels=1, at_least_px=at_least).shape == (expected, expected, 1)


def test_channels_must_be_one_or_three() -> None:
    with pytest.raises(ValueError, match="`channels` must be 1 or 3, got 2"):
        reading.decode(encoded(pixels(0)), channels=2)


def _png_of_size(width: int, height: int) -> bytes:
    """Return a PNG whose header promises an enormous image."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


JPEG = encoded(pixels(0, width=300, height=300), "JPEG")
PNG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(b"not an image at all\n" * 50, "not a JPEG, PNG or DICOM", id="text"),
        pytest.param(JPEG[:20], "not a JPEG|truncated|damaged", id="jpeg stump"),
        pytest.param(JPEG[: len(JPEG) // 2], "truncated", id="half a jpeg"),
        pytest.param(JPEG[:-40], "truncated", id="jpeg without its end"),
        pytest.param(PNG[: len(PNG) // 2], "truncated|damaged", id="half a png"),
        pytest.param(PNG[:-200] + b"\0" * 4 + PNG[-196:], "damaged", id="flipped bytes in a png"),
        pytest.param(_png_of_size(10_000, 10_000), "more than the 89478485 pixels", id="bomb warning"),
        pytest.param(_png_of_size(60_000, 60_000), "more than the 89478485 pixels", id="bomb error"),
        pytest.param(encoded(pixels(0), "GIF"), "not a JPEG, PNG or DICOM", id="other format"),
        pytest.param(b"\0" * 128 + b"DICM" + b"\xff" * 64, "DICOM", id="broken dicom"),
    ],
)
def test_hostile_files_are_data_errors(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        reading.decode(data, channels=1)


@pytest.mark.parametrize("cut", range(0, len(PNG), 97))
def test_no_truncation_raises_anything_else(cut: int) -> None:
    with pytest.raises(DataError):
        reading.decode(PNG[:cut], channels=1)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpeg")
    for name, reason in (("none.jpeg", "does not exist"), (".", "not a regular file"), ("pipe.jpeg", "not a regular")):
        with pytest.raises(DataError, match=reason):
            reading.decode(tmp_path / name, channels=1)


def test_enormous_files_are_not_even_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.png"
    with file.open("wb") as stream:
        stream.truncate(reading.MAX_FILE_BYTES + 1)  # sparse
    with pytest.raises(DataError, match="more than"):
        reading.header(file)


@needs_data
def test_a_real_original_is_the_same_image_when_decoded_small() -> None:
    original = next((DATA / "originals" / "NORMAL").iterdir())
    full, small = (reading.decode(original, channels=1, at_least_px=px)[:, :, 0] for px in (None, 128))
    assert min(small.shape) >= 128
    assert small.shape[0] < full.shape[0] / 3
    sizes = [np.asarray(Image.fromarray(a).resize((64, 64), Image.Resampling.BOX), float) for a in (full, small)]
    assert np.corrcoef(sizes[0].ravel(), sizes[1].ravel())[0, 1] > 0.999
