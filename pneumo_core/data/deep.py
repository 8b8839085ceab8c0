"""Images of more than 8 bits a sample, opened by Pillow, to 8 bits.

`convert("L")` would clip everything above 255 to white, and of a PNG in colour Pillow keeps the upper byte alone, which
is nearly black where 10 to 14 bits are used.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from pneumo_core.data import grey

_LOWER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}  # Pillow's readers of the other byte of each sample
_WHITE_IS_ZERO = 0
_PHOTOMETRIC = 262  # TIFF tag
_FULL = 128  # an upper byte of this or more uses all 16 bits


def eight_bits(image: ImageFile) -> Image.Image:
    """Return an opened image loaded, and scaled to 0..255 by the bits or the range it uses where it is deeper."""
    raw = image.tile[0].args if image.format == "PNG" and image.tile else None
    if isinstance(raw, str) and raw.endswith(";16B") and not image.mode.startswith("I"):
        return _colour(image, raw)
    image.load()
    if image.mode[0] not in "IF":
        return image
    shallow = Image.fromarray(grey.by_bits(grey.levels(np.asarray(image))))
    if _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
        shallow = Image.fromarray(255 - np.asarray(shallow))
    return _as(shallow, image)


def _colour(image: ImageFile, raw: str) -> Image.Image:
    """Return a PNG of 16 bits a sample, whose upper bytes Pillow gives; grey with alpha comes as `RGBA`."""
    file = image.fp
    assert isinstance(file, io.BytesIO)
    data = file.getvalue()
    image.load()
    upper = np.asarray(image)  # (h, w, 3 or 4)
    colours = upper[:, :, :3]
    _, high = grey.spread(np.arange(256.0), np.bincount(colours.ravel(), minlength=256).astype(np.int64))
    if high >= _FULL:
        return image
    lower = _lower(data, raw)
    if raw == "LA;16B":
        colours, lower = colours[:, :, :1], lower[:, :, 1:2]
    both = colours.astype(np.uint16) << 8 | lower[:, :, : colours.shape[2]]
    flat = grey.by_bits(grey.levels(both.reshape(len(both), -1))).reshape(both.shape)
    whole = np.broadcast_to(flat, (*flat.shape[:2], 3))
    return _as(Image.fromarray(np.concatenate([whole, upper[:, :, 3:]], axis=2)), image)


def _lower(data: bytes, raw: str) -> NDArray[np.uint8]:
    """Return the lower byte of each sample; of grey with alpha all four bytes of a pixel."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        again.tile = [again.tile[0]._replace(args=_LOWER.get(raw, "RGBA"))]
        return np.asarray(again)


def _as(shallow: Image.Image, image: Image.Image) -> Image.Image:
    """Return `shallow` with what says how `image` is turned."""
    shallow.info = {key: image.info[key] for key in ("exif",) if key in image.info}
    if orientation := _tags(image).get(ORIENTATION):
        shallow.getexif()[ORIENTATION] = orientation
    return shallow


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


ORIENTATION = 274  # TIFF and EXIF tag
