"""Files made to cost gigabytes or minutes: each is one error, and this process's memory doesn't grow with it."""

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core.data import bounded, inspection, reading
from pneumo_core.errors import DataError
from pneumo_core.specs import DataSpec
from tests.pneumo_core.data.test_dicom import RAMP, compressed, image
from tests.pneumo_core.data.test_reading import PNG
from tests.pneumo_core.pictures import encoded, pixels

pydicom = pytest.importorskip("pydicom", reason="needs the extra `dicom`")

LIMIT_BYTES = 1.5 * 2**30
MEASURE = """
import resource, sys
from pathlib import Path
from pneumo_core.data import inspection
from pneumo_core import helper
print(inspection.inspect_file(Path(sys.argv[1])).facts.reason)
helper._HELPERS.close()
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))  # not the parent's
print((own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024)
"""


def deflated_bomb() -> bytes:
    """Return 2 MB that inflate to 2 GiB: an attribute that long, before the image."""
    explicit, deflated = b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99"
    whole = image(RAMP)
    meta = whole[: whole.index(b"\x10\x00\x10\x00PN")].replace(explicit, deflated)
    meta = meta[:140] + (int.from_bytes(meta[140:144], "little") + 2).to_bytes(4, "little") + meta[144:]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(b"\x09\x00\x10\x10OB\0\0" + (2**31).to_bytes(4, "little"))
    head += packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)  # may be repeated as it is
    return meta + head + zeros * 128 + packer.flush()


def jpeg_of_scans() -> bytes:
    """Return a small progressive JPEG of so many scans that each must be gone through."""
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 2_000 + data[-2:]


HOSTILE = {
    "deflated": (deflated_bomb, "is a deflated DICOM file of more than 268435456 bytes; export the image smaller"),
    "large jpeg inside": (
        lambda: compressed(RAMP.astype(np.uint8), inside=(20_000, 4000)),
        r"8 × 8 pixels \(Columns, Rows\) with a compressed image of 20000 × 4000",
    ),
    "86 megapixels of 16 bits": (
        lambda: encoded(np.zeros((9300, 9300), np.uint16), compress_level=1),
        "needs more than 640 MiB",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_stay_within_the_limits(name: str, tmp_path: Path) -> None:
    file = tmp_path / "hostile"
    file.write_bytes(HOSTILE[name][0]())
    done = subprocess.run([sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, timeout=120)
    reason, peak_bytes = done.stdout.splitlines()
    assert not done.stderr
    assert int(peak_bytes) < LIMIT_BYTES
    assert re.search(HOSTILE[name][1], reason)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("file", "at", "part"),
    [
        (PNG, 33, chunk(b"abCd")),
        (encoded(pixels(0), "JPEG"), 2, b"\xff\xe5\0\2"),
        (encoded(pixels(0), "JPEG"), 2, b"\xff\xfe\0\2"),
    ],
    ids=["chunks", "segments", "comments"],
)
def test_parts_without_number_are_refused_before_a_decoder_sees_them(file: bytes, at: int, part: bytes) -> None:
    assert bounded.cost_of(file[:at] + part * 9000 + file[at:]).is_plain
    with pytest.raises(DataError, match="more than 10000 parts beside its pixels, which no picture needs"):
        bounded.cost_of(file[:at] + part * 11_000 + file[at:])


def test_bytes_between_the_parts_of_a_jpeg_are_not_plain() -> None:
    file = encoded(pixels(0), "JPEG")
    assert not bounded.cost_of(file[:20] + bytes(50) + file[20:]).is_plain
    assert not bounded.cost_of(b"\xff\xd8\xff").is_plain


def test_what_may_take_long_is_not_plain() -> None:
    assert not bounded.cost_of(jpeg_of_scans()).is_plain
    assert not bounded.cost_of(compressed(RAMP.astype(np.uint8), inside=(3000, 2000))).is_plain


@pytest.mark.parametrize(
    "data",
    [
        encoded(pixels(0)),
        encoded(pixels(0), "JPEG"),
        encoded(pixels(0), "BMP"),
        encoded(pixels(0), "WEBP"),
        image(RAMP),
        compressed(RAMP.astype(np.uint8)),
    ],
)
def test_good_files_are_plain(data: bytes) -> None:
    assert bounded.cost_of(data).is_plain


SIZES = (DataSpec(image_size_px=16), DataSpec(image_size_px=24, resize="pad"))


@pytest.mark.parametrize("name", ["TIFF", "JPEG2000"])
def test_what_goes_through_a_helper_is_the_same(name: str, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(encoded(pixels(0), name))
    found = inspection.inspect_file(file, wanted=SIZES)
    assert not bounded.cost_of(file.read_bytes()).is_plain
    assert (found.facts.reason, found.facts.width_px, found.facts.digest) == (
        "",
        40,
        inspection.content_digest(file.read_bytes()),
    )
    here = inspection.look_into(file, SIZES)
    assert np.array_equal(found.thumbnail, here.thumbnail)
    assert all(np.array_equal(found.rows[data], here.rows[data]) for data in SIZES)


def test_a_damaged_file_of_any_kind_is_an_error_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "image"
    for data in (PNG[:-30], encoded(pixels(0), "TIFF")[:-500], image(RAMP)[:-100]):
        file.write_bytes(data)
        with pytest.raises(DataError, match=r"truncated|damaged|cut short"):
            bounded.read(reading_of, file)


def reading_of(source: Path | bytes) -> int:
    return len(reading.decode(source, channels=1))
