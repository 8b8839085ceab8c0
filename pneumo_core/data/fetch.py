"""Public data sets for this task, downloaded with their digests checked: the Kaggle archive and PneumoniaMNIST."""

import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pneumo_core.data.cache import check_room, storage_errors
from pneumo_core.data.download import Digest, Remote, download
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent

# Yang et al. 2023, "MedMNIST v2"; the larger ones are MedMNIST+. Digests as the record states them.
_RECORD = "https://zenodo.org/records/10519652/files"
MEDMNIST: Mapping[int, Remote] = MappingProxyType(
    {
        size: Remote(url=f"{_RECORD}/{name}?download=1", digest=Digest(algorithm="md5", value=md5))
        for size, name, md5 in (
            (28, "pneumoniamnist.npz", "28209eda62fecd6e6a2d98b1501bb15f"),
            (64, "pneumoniamnist_64.npz", "8f4eceb4ccffa70c672198ea285246c6"),
            (128, "pneumoniamnist_128.npz", "05b46931834c231683c68f40c47b2971"),
            (224, "pneumoniamnist_224.npz", "d6a3c71de1b945ea11211b03746c1fe1"),
        )
    }
)
# Kermany et al. 2018, CC BY 4.0. The archive is packed by the server, so its digest is the one that the server states;
# each image has a checksum inside, and their number is known.
KAGGLE = Remote(url="https://www.kaggle.com/api/v1/datasets/download/paultimothymooney/chest-xray-pneumonia")
ARCHIVE, IMAGES = "chest-xray-pneumonia.zip", "chest_xray"
N_IMAGES = 5856
MAX_IMAGE_BYTES = 64 * 2**20
_IMAGE = re.compile(r"(?:chest_xray/)*(train|val|test)/(NORMAL|PNEUMONIA)/([^/\\]+\.jpe?g)", re.IGNORECASE)


def medmnist(size: int, folder: Path, on_progress: Progress = silent) -> Path:
    """Return the `.npz` of PneumoniaMNIST with images of `size` px, in `folder`. Raises `DataError`."""
    if size not in MEDMNIST:
        raise DataError(f"PneumoniaMNIST comes in sizes {', '.join(map(str, MEDMNIST))}, got {size}")
    remote = MEDMNIST[size]
    name = remote.url.rpartition("/")[2].partition("?")[0]
    return download(remote, folder / name, on_progress)


def kaggle(folder: Path, on_progress: Progress = silent, *, remote: Remote = KAGGLE, n_images: int = N_IMAGES) -> Path:
    """Return the folder with `train/ val/ test/` of the Kaggle archive, in `folder`, whole or not at all.

    The archive is deleted once it is unpacked. Raises `DataError`.
    """
    there = folder / IMAGES
    if there.is_dir():
        _check_number(there, sum(1 for _ in there.glob("*/*/*")), n_images)
        return there
    archive = download(remote, folder / ARCHIVE, on_progress)
    with storage_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=f".{IMAGES}.") as unfinished:
        made = Path(unfinished) / IMAGES
        _unpack(archive, made, on_progress)
        _check_number(archive, sum(1 for _ in made.glob("*/*/*")), n_images)
        made.rename(there)
    archive.unlink()
    return there


def _unpack(archive: Path, folder: Path, on_progress: Progress) -> None:
    """Write the images of `archive`, each once: it holds them twice, with what a Mac left beside them."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {place: entry for entry in packed.infolist() if (place := _place(entry))}
            check_room(archive.parent, sum(entry.file_size for entry in members.values()))
            for done, (place, entry) in enumerate(sorted(members.items()), start=1):
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)  # compares the checksum at its end
                on_progress("unpacking images", done, len(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"`{archive}` is damaged ({error}); delete it and fetch again") from error


def _place(entry: zipfile.ZipInfo) -> str:
    """Return where an image goes; empty for whatever isn't one, such as a path that leads elsewhere."""
    found = _IMAGE.fullmatch(entry.filename)
    if found is None or entry.file_size > MAX_IMAGE_BYTES or found[3].startswith("."):
        return ""
    return f"{found[1].lower()}/{found[2].upper()}/{found[3]}"


def _check_number(place: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise DataError(f"`{place}` has {found} images, {wanted} expected; delete it and fetch again")
