"""How a DICOM file is laid out, by its element headers alone: nothing is inflated, decoded or copied.

pydicom builds an object an element and inflates what is deflated, so a small file can cost it gigabytes. What is found
here says beforehand whether it will (DICOM PS3.5 section 7).
"""

import struct
import zlib
from dataclasses import dataclass, field

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
MAX_ELEMENTS = 4_000  # a radiograph has some hundred

_META_BYTES = 4096
_AT_ONCE_BYTES = 2**20
_SYNTAX, _ROWS, _COLUMNS, _PIXELS = 0x00020010, 0x00280010, 0x00280011, 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # value representations with 4 bytes of length
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())  # with 2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the element headers say. `pixels` is where the value of PixelData starts and ends, fragments included."""

    syntax: str
    rows: int
    columns: int
    pixels: tuple[int, int]
    encapsulated: bool


def is_dicom(data: bytes) -> bool:
    """Return whether `data` starts as a DICOM file does, with or without the 128 bytes and `DICM` before it."""
    if data[128:132] == b"DICM":
        return True
    group, _, vr, length = struct.unpack_from("<HH2sH", data) if len(data) >= 8 else (0, 0, b"", 0)
    if group not in (2, 8):
        return False
    return vr in _LONG | _SHORT or (length == 0 and int.from_bytes(vr, "little") < 1024)


def layout(data: bytes) -> Layout | None:
    """Return the layout of a little-endian file that isn't deflated; None where it is another or can't be followed."""
    walk = _Walk(data=data, offset=132 if data[128:132] == b"DICM" else 0)
    try:
        return walk.whole()
    except (struct.error, UnicodeDecodeError, _Lost):
        return None


def inflates_beyond(data: bytes, n_bytes: int) -> bool:
    """Return whether a data set is deflated and has more than `n_bytes`, keeping none of them."""
    if data[128:132] != b"DICM" or DEFLATED.encode() not in data[:_META_BYTES]:
        return False
    inflater, rest, n_seen = (
        zlib.decompressobj(-zlib.MAX_WBITS),
        data[144 + int.from_bytes(data[140:144], "little") :],
        0,
    )
    while rest and not inflater.eof and n_seen <= n_bytes:
        n_seen += len(inflater.decompress(rest, _AT_ONCE_BYTES))
        rest = inflater.unconsumed_tail
    return n_seen > n_bytes


class _Lost(Exception):
    """Raise where the bytes are no element."""


@dataclass
class _Walk:
    data: bytes
    offset: int
    depth: int = 0  # of sequences and items whose end is marked
    n_elements: int = 0
    explicit: bool = True
    syntax: str = ""
    numbers: dict[int, int] = field(default_factory=dict)
    pixels: tuple[int, int] | None = None
    encapsulated: bool = False

    def whole(self) -> Layout | None:
        while self.offset + 8 <= len(self.data):
            self._step()
            self.n_elements += 1
            if self.n_elements > MAX_ELEMENTS or self.syntax in (DEFLATED, BIG_ENDIAN):
                return None
        if self.pixels is None:
            return None
        return Layout(
            syntax=self.syntax or (EXPLICIT if self.explicit else IMPLICIT),
            rows=self.numbers.get(_ROWS, 0),
            columns=self.numbers.get(_COLUMNS, 0),
            pixels=self.pixels,
            encapsulated=self.encapsulated,
        )

    def _step(self) -> None:
        group, element = struct.unpack_from("<HH", self.data, self.offset)
        tag = group << 16 | element
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            return self._delimiter(tag, *struct.unpack_from("<I", self.data, self.offset + 4))
        length = self._length(group)
        if tag == _PIXELS and self.depth == 0:
            return self._pixels(length)
        if length == _UNDEFINED:
            self.depth += 1
            return None
        if self.depth == 0:
            self._note(tag, length)
        self.offset += length
        return None

    def _length(self, group: int) -> int:
        """Return the length of the element here, and step to its value."""
        vr = self.data[self.offset + 4 : self.offset + 6]
        if group != 2 and self.syntax in ("", IMPLICIT) and vr not in _LONG | _SHORT:
            self.explicit = False
        if group != 2 and not self.explicit:
            length, step = struct.unpack_from("<I", self.data, self.offset + 4)[0], 8
        elif vr in _LONG:
            length, step = struct.unpack_from("<I", self.data, self.offset + 8)[0], 12
        elif vr in _SHORT:
            length, step = struct.unpack_from("<H", self.data, self.offset + 6)[0], 8
        else:
            raise _Lost
        self.offset += step
        return int(length)

    def _delimiter(self, tag: int, length: int) -> None:
        self.offset += 8
        if tag == _ITEM:
            self.depth += length == _UNDEFINED
            return
        self.depth -= 1
        if self.depth < 0:
            raise _Lost

    def _pixels(self, length: int) -> None:
        start = self.offset
        if length != _UNDEFINED:
            self.offset += length
        else:
            self.encapsulated = True
            while (tag := struct.unpack_from("<HHI", self.data, self.offset))[:2] == (0xFFFE, 0xE000):
                self.offset += 8 + tag[2]
                self.n_elements += 1
            self.offset += 8
        self.pixels = start, min(self.offset, len(self.data))

    def _note(self, tag: int, length: int) -> None:
        value = self.data[self.offset : self.offset + length]
        if tag == _SYNTAX:
            self.syntax = value.rstrip(b"\0 ").decode("ascii")
        elif tag in (_ROWS, _COLUMNS) and length == 2:
            self.numbers[tag] = int.from_bytes(value, "little")
