"""Scan a source of labelled radiographs to a manifest: what each image is, whose, and which ones look the same.

A source is a folder with two class folders (with or without `train/`, `val/`, `test/` above them), a MedMNIST `.npz`
with labels 0 and 1, or the word `phantom`, which generates one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data import duplicates, inspection, medmnist, patients, phantom, reading, sources
from pneumo_core.data.inspection import Facts
from pneumo_core.data.manifest import ImageRecord, Manifest, OfficialRole, Rejected
from pneumo_core.data.sources import Found
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent

__all__ = ["ImageRecord", "Manifest", "OfficialRole", "Reader", "Rejected", "reader", "scan"]

PHANTOM = "phantom"

Reader = Callable[[ImageRecord, int, int | None], NDArray[np.uint8]]
"""Called as `read(record, channels, at_least_px)`, gives (h, w, channels) uint8; see `reading.decode`."""


def scan(
    source: str | Path,
    *,
    cache_dir: Path,
    negative: str = "NORMAL",
    positive: str = "PNEUMONIA",
    on_progress: Progress | None = None,
) -> Manifest:
    """Return the manifest of `source`. A second scan opens only new and changed files.

    Class folder names are matched exactly, else in any case. Bad files are in `Manifest.rejected`, each with a reason.
    Raises `DataError` where `source` isn't one or a class has no readable image, `StorageError` where `cache_dir`
    can't be written.
    """
    progress = on_progress or silent
    if str(source) == PHANTOM:
        return _scan_folder(
            phantom.generate(Path(cache_dir), on_progress=progress), Path(cache_dir), "NORMAL", "PNEUMONIA", progress
        )
    path = Path(source).expanduser().absolute()
    if path.suffix.casefold() == ".npz":
        return medmnist.scan(path, negative=negative, positive=positive, on_progress=progress)
    if negative.casefold() == positive.casefold():
        raise DataError(f"the class folders must differ, got {negative!r} and {positive!r}")
    return _scan_folder(path, Path(cache_dir), negative, positive, progress)


def reader(manifest: Manifest) -> Reader:
    """Return the function that decodes the images of `manifest`.

    It raises `DataError` for an image that can't be decoded any more or whose bytes changed since the scan.
    """
    if Path(manifest.source).suffix.casefold() == ".npz":
        return medmnist.reader(manifest)
    root = Path(manifest.source)

    def read(record: ImageRecord, channels: int, at_least_px: int | None) -> NDArray[np.uint8]:
        try:
            data = reading.read_bytes(root / record.path)
            if inspection.content_digest(data) != record.digest:
                raise DataError("has other contents")
            return reading.decode(data, channels=channels, at_least_px=at_least_px)
        except DataError as error:
            raise DataError(
                f"`{root / record.path}` changed since the scan: it {error}; scan the source again"
            ) from error

    return read


def _scan_folder(root: Path, cache_dir: Path, negative: str, positive: str, progress: Progress) -> Manifest:
    found = sources.find(root, negative, positive)
    facts, thumbnails = inspection.inspect_all(root, found, cache_dir, progress)
    rejected = tuple(
        Rejected(path=entry.path, reason=fact.reason) for entry, fact in zip(found, facts, strict=True) if fact.reason
    )
    _check_classes(root, found, facts, (negative, positive))
    good = [row for row, fact in enumerate(facts) if not fact.reason]
    looks, n_divided = duplicates.remembered_looks(
        [facts[row].digest for row in good], thumbnails[good], cache_dir, on_progress=progress
    )
    records = tuple(
        _record(found[row], facts[row], look, (negative, positive)) for row, look in zip(good, looks, strict=True)
    )
    return Manifest(
        source=str(root),
        negative=negative,
        positive=positive,
        records=records,
        rejected=rejected,
        n_divided_looks=n_divided,
    )


def _record(entry: Found, facts: Facts, look: str, classes: tuple[str, str]) -> ImageRecord:
    group, kind = patients.group_and_kind(entry.path, classes[entry.label])
    return ImageRecord(
        path=entry.path,
        label=entry.label,
        group=f"DICOM-{facts.patient}" if facts.patient else group,
        kind=kind,
        official_role=entry.official_role,
        width_px=facts.width_px,
        height_px=facts.height_px,
        mode=facts.mode,
        n_bytes=entry.size,
        digest=facts.digest,
        look=look,
    )


def _check_classes(root: Path, found: Sequence[Found], facts: Sequence[Facts], classes: tuple[str, str]) -> None:
    """Raise `DataError` for a class without a readable image, saying what was found instead."""
    for label, name in enumerate(classes):
        of_class = [fact for entry, fact in zip(found, facts, strict=True) if entry.label == label]
        if any(not fact.reason for fact in of_class):
            continue
        reasons = Counter(fact.reason for fact in of_class).most_common(3)
        seen = "; ".join(f"{count} × {reason}" for reason, count in reasons) or "the folder is empty"
        raise DataError(
            f"class `{name}` of `{root}` has no readable image: {len(of_class)} files found ({seen}); "
            "put JPEG, PNG or DICOM images there"
        )
