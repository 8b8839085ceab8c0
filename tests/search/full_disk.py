"""A small disk of a test's own, that can be filled."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """Mount a disk in memory at `folder` for a while; skip the test where that isn't allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk in memory can be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk of `folder` to its last byte; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for chunk in (2**16, 2**8, 1):
            with suppress(OSError):
                while file.write(bytes(chunk)) == chunk:
                    pass
    with pytest.raises(OSError) as caught:
        (folder / "one more").write_bytes(bytes(8192))
    assert caught.value.errno == errno.ENOSPC
    (folder / "one more").unlink()
    return filler
