"""A `.keras` file weighed before it is unpacked: Keras stores weights as they are, `compact` in half and more."""

import io
import zipfile
from pathlib import Path

MOST_TIMES = 4  # the size of the file that all of it may unpack to
SPARE_BYTES = 2**20


def most_bytes(file: Path) -> int:
    """Return how many bytes the parts of a file may have together."""
    return MOST_TIMES * file.stat().st_size + SPARE_BYTES


def check(file: Path) -> None:
    """Raise `ValueError` where the parts of a `.keras` file, or the weights in them, are more than it could hold.

    Raises `OSError`, `KeyError` and `zipfile.BadZipFile` for a damaged one.
    """
    most = most_bytes(file)
    with zipfile.ZipFile(file) as archive:
        if (n_bytes := sum(part.file_size for part in archive.infolist())) > most:
            raise ValueError(f"it unpacks to {n_bytes} bytes, more than a saved network of its size does")
        for name in archive.namelist():
            if name.endswith(".h5") and (n_bytes := _claimed_bytes(archive.read(name))) > most:
                raise ValueError(f"its weights claim {n_bytes} bytes, more than a saved network of its size has")


def _claimed_bytes(content: bytes) -> int:
    import h5py

    sizes: list[int] = []
    with h5py.File(io.BytesIO(content), "r") as stored:
        stored.visititems(lambda _, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)
