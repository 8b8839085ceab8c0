"""PneumoniaMNIST, downloaded with its digests checked."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

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


def medmnist(size: int, folder: Path, on_progress: Progress = silent) -> Path:
    """Return the `.npz` of PneumoniaMNIST with images of `size` px, in `folder`. Raises `DataError`."""
    if size not in MEDMNIST:
        raise DataError(f"PneumoniaMNIST comes in sizes {', '.join(map(str, MEDMNIST))}, got {size}")
    remote = MEDMNIST[size]
    name = remote.url.rpartition("/")[2].partition("?")[0]
    return download(remote, folder / name, on_progress)
