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


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_of_size(width: int, height: int) -> bytes:
    """Return a PNG whose header promises an enormous image."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


JPEG = encoded(pixels(0, width=300, height=300), "JPEG")
PNG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(b"not an image at all\n" * 50, "not a JPEG, PNG, TIFF, WebP, BMP, JPEG 2000 or DICOM", id="text"),
        pytest.param(JPEG[:20], "not a JPEG|truncated|damaged", id="jpeg stump"),
        pytest.param(JPEG[: len(JPEG) // 2], "truncated", id="half a jpeg"),
        pytest.param(JPEG[:-40], "truncated", id="jpeg without its end"),
        pytest.param(PNG[: len(PNG) // 2], "truncated|damaged", id="half a png"),
        pytest.param(PNG[:-200] + b"\0" * 4 + PNG[-196:], "damaged", id="flipped bytes in a png"),
        pytest.param(_png_of_size(10_000, 10_000), "more than the 89478485 pixels", id="bomb warning"),
        pytest.param(_png_of_size(60_000, 60_000), "more than the 89478485 pixels", id="bomb error"),
        pytest.param(encoded(pixels(0), "GIF"), "not a JPEG, PNG, TIFF", id="other format"),
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


@pytest.mark.parametrize("name", ["TIFF", "WEBP", "BMP", "JPEG2000"])
def test_other_formats_are_read(name: str) -> None:
    options = {"lossless": True} if name == "WEBP" else {}
    data = encoded(pixels(0), name, **options)
    assert np.array_equal(reading.decode(data, channels=1)[:, :, 0], pixels(0))
    assert reading.header(data).format == name


def test_sixteen_bit_tiff_white_is_zero_is_inverted() -> None:
    deep = np.linspace(0, 4095, 32 * 40).round().astype(np.uint16).reshape(32, 40)
    black, white = (encoded(deep, "TIFF", tiffinfo={262: photometric}) for photometric in (1, 0))
    one, two = (reading.decode(data, channels=1).astype(int) for data in (black, white))
    assert one.max() == 255
    assert np.array_equal(one, 255 - two)


def test_turned_tiff_is_upright() -> None:
    for values in (pixels(0), pixels(0).astype(np.uint16) * 257):
        decoded = reading.decode(encoded(values, "TIFF", tiffinfo={274: 6}), channels=1)[:, :, 0]
        assert decoded.shape == (40, 32)


def test_a_file_of_several_images_is_refused() -> None:
    buffer = io.BytesIO()
    first, second = Image.fromarray(pixels(0)), Image.fromarray(pixels(1))
    first.save(buffer, "TIFF", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="holds several images; export the one"):
        reading.decode(buffer.getvalue(), channels=1)


def test_pixels_that_are_not_finite_are_refused() -> None:
    broken = np.full((8, 8), np.nan, np.float32)
    with pytest.raises(DataError, match="not finite numbers"):
        reading.decode(encoded(broken, "TIFF"), channels=1)


@pytest.mark.parametrize("n_hot", [1, 16])
def test_a_few_hot_pixels_do_not_set_the_scale_of_deep_png(n_hot: int) -> None:
    deep = np.linspace(0, 4095, 128 * 128).round().astype(np.uint16).reshape(128, 128)
    expected = reading.decode(encoded(deep), channels=1)
    hot = deep.copy()
    hot[0, :n_hot] = 65535
    assert np.array_equal(reading.decode(encoded(hot), channels=1)[1:], expected[1:])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("n_samples", [2, 3, 4])
def test_deep_colour_png_is_scaled_by_the_bits_it_uses(bits: int, n_samples: int) -> None:
    grey = np.linspace(0, 2**bits - 1, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    samples = [grey] * (n_samples - (n_samples != 3)) + [np.full_like(grey, 65535)] * (n_samples != 3)
    decoded = reading.decode(_deep_png(np.stack(samples, axis=2)), channels=1)[:, :, 0]
    assert np.abs(decoded - np.linspace(0, 255, 32 * 32).reshape(32, 32)).max() <= 2


def _deep_png(values: np.ndarray) -> bytes:
    """Return a 16-bit PNG of (h, w, 2 to 4); Pillow writes none in colour."""
    height, width, n_samples = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[n_samples], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


@needs_data
def test_a_real_original_is_the_same_image_when_decoded_small() -> None:
    original = next((DATA / "originals" / "NORMAL").iterdir())
    full, small = (reading.decode(original, channels=1, at_least_px=px)[:, :, 0] for px in (None, 128))
    assert min(small.shape) >= 128
    assert small.shape[0] < full.shape[0] / 3
    sizes = [np.asarray(Image.fromarray(a).resize((64, 64), Image.Resampling.BOX), float) for a in (full, small)]
    assert np.corrcoef(sizes[0].ravel(), sizes[1].ravel())[0, 1] > 0.999
