"""Scan a source of labelled radiographs to a manifest: what each image is, whose, and which ones look the same.

A source is a folder with class folders (with or without `train/`, `val/`, `test/` above them), a folder with a table of
labels, a `.npz` of MedMNIST or of `pneumo data prepare`, or the word `phantom`, which generates one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data import (
    altered,
    bounded,
    inspection,
    labels,
    medmnist,
    naming,
    patients,
    phantom,
    reading,
    sources,
)
from pneumo_core.data.folders import Tally
from pneumo_core.data.inspection import Facts
from pneumo_core.data.layouts import LAYOUTS
from pneumo_core.data.manifest import ImageRecord, LeftOut, Manifest, OfficialRole, Rejected
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.source_spec import DEFAULT_CLASSES, SourceSpec, joined
from pneumo_core.data.sources import Found, Sighting
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent
from pneumo_core.text import inline

__all__ = ["ImageRecord", "Manifest", "OfficialRole", "Reader", "Rejected", "reader", "scan"]

PHANTOM = "phantom"

Reader = Callable[[ImageRecord, int, int | None], NDArray[np.uint8]]
"""Called as `read(record, channels, at_least_px)`, gives (h, w, channels) uint8; see `reading.decode`."""


def scan(
    source: SourceSpec | str | Path,
    *,
    cache_dir: Path,
    on_progress: Progress | None = None,
    scanned: Scanned | None = None,
) -> Manifest:
    """Return the manifest of `source`; a mere place has the classes NORMAL and PNEUMONIA.

    A second scan opens only new and changed files. Names are compared without regard to case and Unicode form. Bad
    files are in `Manifest.rejected`, each with a reason; what isn't read is in `Manifest.left_out`. `scanned` keeps
    rows of the decoded files for `preprocess.prepare`. Raises `DataError` where `source` isn't one or a class has no
    readable image, `StorageError` where `cache_dir` can't be written.
    """
    progress = on_progress or silent
    spec = source if isinstance(source, SourceSpec) else SourceSpec(source=str(source))
    if spec.source is None:
        raise DataError("no images are named")
    if spec.source == PHANTOM:
        drawn = phantom.generate(Path(cache_dir), on_progress=progress)
        return replace(_scan_folder(drawn, SourceSpec(), cache_dir, progress, scanned), is_synthetic=True)
    path = Path(spec.source).expanduser().absolute()
    if path.suffix.casefold() == ".npz":
        negative, positive = _class_names(spec)
        names = {"negative": joined(negative), "positive": joined(positive)}
        return medmnist.scan(path, **names, cache_dir=Path(cache_dir), on_progress=progress)
    return _scan_folder(path, spec, Path(cache_dir), progress, scanned)


def reader(manifest: Manifest) -> Reader:
    """Return the function that decodes the images of `manifest`.

    It raises `DataError` for an image that can't be decoded any more or whose bytes changed since the scan.
    """
    if Path(manifest.source).suffix.casefold() == ".npz":
        return medmnist.reader(manifest)
    root = Path(manifest.source)

    def read(record: ImageRecord, channels: int, at_least_px: int | None) -> NDArray[np.uint8]:
        try:
            return bounded.read(inspection.decode_same, root / record.path, record.digest, channels, at_least_px)
        except DataError as error:
            raise DataError(
                f"`{inline(root / record.path)}` changed since the scan: it {error}; scan the source again"
            ) from error

    return read


def _scan_folder(
    root: Path, spec: SourceSpec, cache_dir: Path, progress: Progress, scanned: Scanned | None
) -> Manifest:
    sighting, classes, column = _sighting(root, spec)
    entries = [file.entry for file in sighting.found]
    facts, thumbnails = inspection.inspect_all(root, entries, cache_dir, progress, scanned)
    found, facts, thumbnails, no_images = _without_other_files(sighting.found, facts, thumbnails)
    rejected = tuple(
        Rejected(path=file.path, reason=fact.reason) for file, fact in zip(found, facts, strict=True) if fact.reason
    )
    _check_classes(root, found, facts, classes, (*sighting.left_out, *no_images))
    rows = [row for row, fact in enumerate(facts) if not fact.reason]
    good, known = [found[row] for row in rows], [facts[row] for row in rows]
    alike = altered.likenesses([fact.digest for fact in known], thumbnails[rows], cache_dir, on_progress=progress)
    whose = patients.assign(good, [fact.patient for fact in known], column, spec.patient)
    facts_of_each = zip(good, known, alike.looks, alike.families, whose.groups, whose.kinds, strict=True)
    return Manifest(
        source=str(root),
        negative=classes[0],
        positive=classes[1],
        records=tuple(_record(*of_image) for of_image in facts_of_each),
        rejected=rejected,
        n_divided_looks=alike.n_divided,
        copies=alike.pairs([file.path for file in good]),
        n_apart=alike.n_apart,
        left_out=(*sighting.left_out, *no_images),
        patients=whose.how,
        notes=(*sighting.notes, *whose.notes),
    )


def _sighting(root: Path, spec: SourceSpec) -> tuple[Sighting, tuple[str, str], str | None]:
    """Return the labelled files, the names of the classes and the table's column that names patients."""
    if spec.labels is not None:
        sighting, table = labels.find(root, spec, spec.labels)
        return sighting, table.classes, table.patient_column
    negative, positive = _class_names(spec)
    sighting = sources.find(root, negative, positive, follow_links=spec.follow_links)
    return sighting, (joined(negative), joined(positive)), None


def _class_names(spec: SourceSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the class folders; raises `DataError` where one names both classes."""
    layout = LAYOUTS[spec.layout] if spec.layout else None
    if layout and layout.label:
        raise DataError(f"the layout `{spec.layout}` has its labels in a table: give it with --labels FILE.csv")
    negative = spec.negatives or (layout.negative if layout else DEFAULT_CLASSES[:1])
    positive = spec.positives or (layout.positive if layout else DEFAULT_CLASSES[1:])
    if {naming.key(name) for name in negative} & {naming.key(name) for name in positive}:
        raise DataError(f"the class folders must differ, got {joined(negative)!r} and {joined(positive)!r}")
    return negative, positive


def _without_other_files(
    found: Sequence[Found], facts: Sequence[Facts], thumbnails: NDArray[np.uint8]
) -> tuple[list[Found], list[Facts], NDArray[np.uint8], tuple[LeftOut, ...]]:
    """Return files, facts and thumbnails without what neither is nor is called an image, and the count of that."""
    tally = Tally()
    kept = []
    for row, (file, fact) in enumerate(zip(found, facts, strict=True)):
        if fact.reason == reading.NOT_AN_IMAGE and not naming.may_be_image(file.path):
            tally.add("no image", file.path)
        else:
            kept.append(row)
    return [found[row] for row in kept], [facts[row] for row in kept], thumbnails[kept], tally.left_out()


def _record(file: Found, facts: Facts, look: str, family: str, group: str, kind: str) -> ImageRecord:
    return ImageRecord(
        path=file.path,
        label=file.label,
        group=group,
        kind=kind,
        official_role=file.official_role,
        width_px=facts.width_px,
        height_px=facts.height_px,
        mode=facts.mode,
        n_bytes=file.entry.size,
        digest=facts.digest,
        look=look,
        family=family,
        note=facts.note,
    )


def _check_classes(
    root: Path,
    found: Sequence[Found],
    facts: Sequence[Facts],
    classes: tuple[str, str],
    left_out: Sequence[LeftOut],
) -> None:
    """Raise `DataError` for a class without a readable image, saying what was found instead."""
    for label, name in enumerate(classes):
        of_class = [fact for file, fact in zip(found, facts, strict=True) if file.label == label]
        if any(not fact.reason for fact in of_class):
            continue
        reasons = Counter(fact.reason for fact in of_class).most_common(3)
        seen = "; ".join(f"{count} × {reason}" for reason, count in reasons) or "there is none"
        others = "".join(f"; {entry}" for entry in left_out)
        raise DataError(
            f"class `{name}` of `{root}` has no readable image: {len(of_class)} files found ({seen}){others}; "
            f"put images there: {reading.READ}"
        )
