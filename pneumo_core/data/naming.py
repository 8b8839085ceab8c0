"""Names of folders, files and columns, compared without regard to Unicode form and case."""

import re
import unicodedata

_LATIN_1 = {0xDC00 + byte: byte for byte in range(128, 256)}  # how Python writes a byte that is no UTF-8
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})
_MASK = re.compile(
    r"(.*[ _.-])?(masks?|segmentations?|segs?|annotations?|ground[ _-]?truth)", re.IGNORECASE | re.DOTALL
)
_IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}) | {
    *(".jp2", ".j2k", ".jpf", ".jpx", ".dcm", ".dicom", ".dic", ".ima"),
}


def key(name: str) -> str:
    """Return what two names that mean the same have in common: macOS writes `ü` in two characters, others in one.

    Bytes that are no UTF-8 are taken as Latin-1.
    """
    if name.isascii():
        return name.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.translate(_LATIN_1)).casefold())


def is_litter(name: str) -> bool:
    """Return whether a name is hidden or one of those that operating systems leave behind."""
    return name.startswith(".") or name.casefold() in _LITTER


def is_mask_folder(name: str) -> bool:
    """Return whether a folder's name says that it holds masks beside images."""
    return _MASK.fullmatch(name) is not None


def without_mask(stem: str) -> str | None:
    """Return the stem of the image that a file such as `a_mask` belongs to, None for any other name."""
    match = re.fullmatch(r"(.+)[ _.-](mask|segmentation|seg|overlay)", stem, re.IGNORECASE | re.DOTALL)
    return match[1] if match else None


def ending(name: str) -> str:
    """Return the ending of a file name in lower case with its dot, "" for none or for a number as in DICOM UIDs."""
    _, dot, last = name.rpartition(".")
    return f".{last.casefold()}" if dot and not last.isdigit() and len(last) <= 8 else ""


def may_be_image(name: str) -> bool:
    """Return whether a file name is that of an image, or has no ending, as exported DICOM files often do."""
    return ending(name) in _IMAGE_ENDINGS or not ending(name)
