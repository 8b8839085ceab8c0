"""How many parts a file has around its pixels: Pillow goes through them one by one, before it knows any size.

Sixty megabytes of empty ones are a minute's work. A radiograph has some ten, a large PNG some thousand.
"""

from collections.abc import Iterator
from itertools import islice

from pneumo_core.errors import DataError

MAX_PARTS = 10_000
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
_START_OF_SCAN = 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length


def are_followed(data: bytes) -> bool:
    """Return whether the parts of a JPEG lead to its pixels; True for any other file.

    Raises `DataError` for a JPEG or PNG of too many parts.
    """
    if not data.startswith((JPEG, PNG)):
        return True
    parts = list(islice(_chunks(data) if data.startswith(PNG) else _segments(data), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        raise DataError(f"has more than {MAX_PARTS} parts beside its pixels, which no picture needs; export it again")
    return data.startswith(PNG) or parts[-1:] == [_START_OF_SCAN]


def _chunks(data: bytes) -> Iterator[int]:
    """Yield where each chunk of a PNG starts."""
    offset = len(PNG)
    while offset + 8 <= len(data):
        yield offset
        offset += 12 + int.from_bytes(data[offset : offset + 4], "big")


def _segments(data: bytes) -> Iterator[int]:
    """Yield the marker of each segment of a JPEG up to its pixels; it ends before where a byte is none."""
    offset = len(JPEG)
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        yield marker
        if marker == _START_OF_SCAN:
            return
        offset += 1 if marker == 0xFF else 2
        if marker not in _ALONE and marker != 0xFF:
            offset += max(2, int.from_bytes(data[offset : offset + 2], "big"))
