"""The values in a DICOM file. Whatever pydicom raises becomes an error that quotes nothing of the file.

pydicom converts a value when it is first looked at, and raises, warns and logs with that value, which may be a
patient's. So errors are reduced to the name of the attribute here. Warnings are the caller's to silence (`quiet`).
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data.dicom_layout import inflates_beyond
from pneumo_core.errors import DataError

EXPORT = "export the image again"
_INFLATED_BYTES = 256 * 2**20


class Values:
    """The values of a data set; each raises `DataError` where pydicom can't convert it."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def raw(self, name: str) -> Any:
        """Return the value, None where there is none."""
        with guarded(f"is a DICOM file whose {name} can't be read ({{kind}}); {EXPORT}"):
            value = self._dataset.get(name)
            return None if value is None or (hasattr(value, "__len__") and not len(value)) else value

    def has(self, name: str) -> bool:
        """Return whether the attribute is there, with or without a value."""
        return name in self._dataset

    def text(self, name: str) -> str:
        try:
            return str(self.raw(name) or "")
        except DataError:
            return ""  # nothing depends on a text that can't be read

    def number(self, name: str) -> float | None:
        """Return the first of the values as it is, infinite or not; None where there is none."""
        value = self.raw(name)
        with guarded(f"is a DICOM file whose {name} is not a number; correct it, or {EXPORT}"):
            first = value[0] if hasattr(value, "__getitem__") and not isinstance(value, str | bytes) else value
            return None if first is None or first == "" else float(first)

    def whole(self, name: str, default: int) -> int:
        value = self.number(name)
        if value is None:
            return default
        if not value.is_integer():
            raise DataError(f"is a DICOM file whose {name} is {value:g}; it must be a whole number: {EXPORT}")
        return int(value)

    def item(self, name: str) -> "Values | None":
        """Return the first item of a sequence, None where there is none."""
        items = self.raw(name)
        with guarded(f"is a DICOM file whose {name} is not a sequence; {EXPORT}"):
            return None if items is None else Values(items[0])

    def array(self, name: str) -> NDArray[np.float64] | None:
        """Return numbers, of 16 bits where they are bytes; None where there are none."""
        value = self.raw(name)
        with guarded(f"is a DICOM file whose {name} holds no numbers; {EXPORT}"):
            if isinstance(value, bytes):
                return np.frombuffer(value[: len(value) // 2 * 2], "<u2").astype(np.float64)
            return None if value is None else np.atleast_1d(np.asarray(value, np.float64))


@contextmanager
def guarded(message: str) -> Iterator[None]:
    """Raise `DataError` with `message` for whatever a library raises; `{kind}` in it becomes the error's type."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # pydicom raises anything, and quotes the file
        raise DataError(message.format(kind=type(error).__name__)) from error


def parse(data: bytes, attributes: tuple[str, ...]) -> Any:
    """Return pydicom's data set with these attributes only. Raises `DataError`."""
    reader = pydicom()
    with guarded(f"is a damaged DICOM file ({{kind}}); {EXPORT}"):
        if inflates_beyond(data, _INFLATED_BYTES):
            raise DataError(f"is a deflated DICOM file of more than {_INFLATED_BYTES} bytes; export the image smaller")
        return reader.dcmread(io.BytesIO(data), specific_tags=list(attributes), force=True)


def pydicom() -> Any:
    """Return the package. Raises `DataError` where it is not installed."""
    try:
        import pydicom
    except ImportError as error:
        raise DataError(
            "is a DICOM file; install the extra that reads them: pip install 'pneumo-search[dicom]'"
        ) from error
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes values as its warnings do
    return pydicom
