"""The original images of this task from Kaggle, by Kaggle's own client: with its cache, resumption and login.

Kermany et al. 2018, "Chest X-Ray Images (Pneumonia)", CC BY 4.0.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from pneumo_core.errors import DataError
from pneumo_core.files import storage_errors
from pneumo_core.progress import Progress, silent

HANDLE = "paultimothymooney/chest-xray-pneumonia/versions/2"  # with a version, a cached copy is used without network
IMAGES, N_IMAGES = "chest_xray", 5856
ATTEMPTS = 5  # of a download that breaks off; each continues where the last one stopped
_IMAGE = re.compile(r"(?:chest_xray/)*(train|val|test)/(NORMAL|PNEUMONIA)/([^/.][^/]*\.jpe?g)", re.IGNORECASE)


def fetch(folder: Path, on_progress: Progress = silent, *, n_images: int = N_IMAGES) -> Path:
    """Return the folder with `train/ val/ test/` of the Kaggle data set, in `folder`, whole or not at all.

    The files are links to those of the client's cache (`KAGGLEHUB_CACHE`), or copies where links can't be made.
    Raises `DataError` where they are unavailable or aren't `n_images`.
    """
    there = folder / IMAGES
    if there.is_dir():
        _check_number(there, sum(1 for _ in there.glob("*/*/*")), n_images)
        return there
    cached = _downloaded()
    files = _images(cached)
    _check_number(cached, len(files), n_images)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{IMAGES}.") as unfinished:
            made = Path(unfinished) / IMAGES
            for done, (place, file) in enumerate(files.items(), start=1):
                _link(file, made / place)
                on_progress("linking images", done, len(files))
            made.rename(there)
    return there


def _downloaded() -> Path:
    """Return the folder of the data set in the client's cache, downloaded unless it is there."""
    with contextlib.redirect_stdout(sys.stderr):  # the client talks on standard output
        try:
            import kagglehub
            from kagglehub.cache import get_cached_archive_path
            from kagglehub.handle import parse_dataset_handle
            from requests.exceptions import ChunkedEncodingError, RequestException
        except ImportError as error:
            raise DataError("Kaggle's client is not installed: pip install 'pneumo-search[kaggle]'") from error
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return Path(kagglehub.dataset_download(HANDLE))
            except ChunkedEncodingError as error:  # the connection ended early
                if attempt == ATTEMPTS:
                    raise _unobtainable(error) from None
            except RequestException as error:
                raise _unobtainable(error) from None
            except (
                kagglehub.exceptions.DataCorruptionError,
                zipfile.BadZipFile,
                zlib.error,
                EOFError,
                ValueError,
            ) as error:
                # The client would take an archive that was once whole for good, and unpack it again and again.
                Path(get_cached_archive_path(parse_dataset_handle(HANDLE))).unlink(missing_ok=True)
                raise DataError(f"what Kaggle sent is damaged ({error}); fetch again") from error
            except OSError as error:
                raise _unobtainable(error) from error
    raise AssertionError("the last attempt returns or raises")


def _images(cached: Path) -> dict[str, Path]:
    """Return the images by where they go, each once: the data set has them twice, with what a Mac left beside them."""
    found = {}
    for file in sorted(cached.rglob("*")):
        match = _IMAGE.fullmatch(file.relative_to(cached).as_posix())
        if match is not None and file.is_file() and not file.is_symlink():
            found[f"{match[1].lower()}/{match[2].upper()}/{match[3]}"] = file
    return dict(sorted(found.items()))


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)


def _check_number(place: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise DataError(f"`{place}` has {found} images, {wanted} expected; delete it and fetch again")


def _unobtainable(error: OSError) -> DataError:
    reason = re.sub(r"\?\S*", "", " ".join(str(error).split()))[:500]  # the query of a signed address is a secret
    return DataError(
        f"{HANDLE} can't be downloaded from Kaggle: {reason}. What came so far is kept: the same command continues "
        "from there. Behind a proxy, set https_proxy; on a machine without network, download it elsewhere, unpack it "
        f"and put its folder `{IMAGES}` (train, val, test) at the same place"
    )
