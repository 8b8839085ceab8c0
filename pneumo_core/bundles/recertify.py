"""A bundle's threshold certified anew on other labelled images, such as a hospital's own.

The networks stay as they are. What follows the new threshold is all that reads `bundle.json`: `predict`, `evaluate`,
exports. The networks must not have been trained on the images, and the new threshold is judged on halves that didn't
set it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pneumo_core import codec
from pneumo_core.bundles import bundle as bundles
from pneumo_core.bundles import recertified_card, reference, trace, trained_on
from pneumo_core.bundles.bundle import Bundle, Certification, calibration_counts
from pneumo_core.bundles.trace import Traces
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.split import grouped
from pneumo_core.errors import DataError
from pneumo_core.progress import Progress, silent
from pneumo_core.scoring.assess import Assessment, assess
from pneumo_core.scoring.certify import Certified, certify_both
from pneumo_core.scoring.halves import repeated_halves
from pneumo_core.scoring.metrics import Floats
from pneumo_core.text import inline

_SHOWN = 5  # paths in a message
_SHARED = ("threshold", "guarantee", "ceiling", "confidence", "shifts", "certificates", "calibration")
"""What a bundle and a certification both say, under the same names."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be certified."""

    ceiling: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images that a threshold may be set on: rows of a manifest, their patients and traces, in the same order."""

    manifest: Manifest
    records: tuple[ImageRecord, ...]
    groups: tuple[str, ...]
    traces: Traces
    n_left_out: int  # images that the bundle was made from

    @property
    def y(self) -> np.ndarray:
        return np.array([record.label for record in self.records])

    @property
    def patients_known(self) -> bool:
        """Whether every positive image names its patient: only then can anything be promised by patient."""
        return all(record.names_patient for record in self.records if record.label)


def look_at(folder: Path, manifest: Manifest, *, leave_out_known: bool, on_progress: Progress = silent) -> Labelled:
    """Return the images of `manifest`, without those that the bundle in `folder` was made from.

    Raises `DataError` naming some of these unless they are to be left out, and where too few patients are left.
    """
    known = trained_on.read(folder)
    if known is None:
        raise DataError(
            f"`{folder}` doesn't say which images it was made from, so these can't be excluded; "
            "make the bundle anew with `pneumo finalize`"
        )
    records = manifest.records
    taught = known.knows_digests([record.digest for record in records])
    if taught.any() and not leave_out_known:
        _refuse(records, taught)
    traces = trace.of_records(manifest, records, on_progress)
    taught |= trace.resembles(traces.looks, known.looks)
    if taught.any() and not leave_out_known:
        _refuse(records, taught)
    groups = np.array(grouped(records))
    taught = np.isin(groups, np.unique(groups[taught]))  # their patients' other images as well
    rows = np.flatnonzero(~taught)
    found = Labelled(
        manifest=manifest,
        records=tuple(records[row] for row in rows),
        groups=tuple(groups[rows].tolist()),
        traces=traces.take(rows),
        n_left_out=int(taught.sum()),
    )
    _check_patients(found)
    return found


def certification(about: Bundle, images: Labelled, scores: Floats, wanted: Wanted) -> Certification:
    """Return the certification of a threshold of the bundle `about` on `images` with `scores` (n,).

    Raises `DataError` where nothing can be certified, saying how many positives are missing, and which ceiling could.
    """
    labelled = images.y, scores, np.array(images.groups)
    terms: dict[str, Any] = {**vars(wanted), "patients_known": images.patients_known}
    found = certify_both(*labelled, **terms)
    if found.threshold is None:
        raise DataError(_missing(found))
    halves = repeated_halves(*labelled, old_threshold=about.threshold, **terms)
    return Certification(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        images=images.manifest.digest,
        threshold=found.threshold,
        guarantee=found.guarantee,
        ceiling=wanted.ceiling,
        confidence=wanted.confidence,
        certificates={each.unit: each for each in found.certificates},
        calibration=calibration_counts(images.y, np.array(images.groups)),
        halves=halves,
        before=codec.to_json(_at(about.threshold, images, scores, wanted)),
    )


def certified(about: Bundle, made: Certification) -> Bundle:
    """Return what `bundle.json` says of `about` with the threshold of `made`; earlier certifications stay on record."""
    first = Certification(
        time=about.created,
        images=str(about.fingerprint.get("data", {}).get("digest", "")),
        **{name: getattr(about, name) for name in _SHARED},
    )
    return replace(
        about,
        finalize_id=codec.digest([about.finalize_id, codec.to_json(made)]),
        under_shifts=(),  # those were of another threshold
        certifications=(*(about.certifications or (first,)), made),
        **{name: getattr(made, name) for name in _SHARED},
    )


def write(folder: Path, out: Path, about: Bundle, images: Labelled, scores: Floats) -> Bundle:
    """Write into `out` the bundle of `folder` as `about` says it is now; `drift` compares with `images` from then on.

    Raises `StorageError` where something is there already.
    """

    def fill(place: Path) -> None:
        for name in about.files:
            if name not in (bundles.CARD, bundles.REPORT, reference.FILE):
                shutil.copyfile(folder / name, place / name)
        rows = reference.kept_rows(len(scores))
        kept = reference.sample(images.traces.take(rows), scores[rows], [images.groups[row] for row in rows])
        reference.write(place, kept)
        for name, renew in ((bundles.CARD, recertified_card.card), (bundles.REPORT, recertified_card.report)):
            if name in about.files:
                (place / name).write_text(renew(about, (folder / name).read_text("utf-8")), "utf-8")

    return bundles.write(out, about, fill)


def _refuse(records: Sequence[ImageRecord], taught: np.ndarray) -> None:
    paths = [inline(records[row].path) for row in np.flatnonzero(taught).tolist()]
    shown = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
    raise DataError(
        f"{len(paths)} of {len(records)} images taught this bundle's networks, or look like images that did: {shown}. "
        "A threshold certified on them would guarantee nothing; take other images, or leave these and their patients "
        "out with --leave-out-known"
    )


def _check_patients(found: Labelled) -> None:
    groups, y = np.array(found.groups), found.y
    for label, name in ((0, found.manifest.negative), (1, found.manifest.positive)):
        n = len(np.unique(groups[y == label])) if len(y) else 0
        if n < 2:
            without = f" without the {found.n_left_out} that the bundle was made from" if found.n_left_out else ""
            raise DataError(f"class `{name}` has images of {n} patients{without}; certifying takes 2 at the least")


def _missing(found: Certified) -> str:
    """Return what is missing, and what could be certified instead."""
    by_image = found.certificates[0]
    n_more = by_image.n_positives_needed - by_image.n_positives
    return (
        "\n".join(map(str, found.certificates))
        + f"\nNothing was written: {n_more} positive images are missing. Add them, or certify a higher ceiling: "
        f"--ceiling {np.ceil(1000 * by_image.certifiable_ceiling) / 1000:g}"
    )


def _at(threshold: float, images: Labelled, scores: Floats, wanted: Wanted) -> Assessment:
    """Return the figures of all images at the threshold before, which they didn't set."""
    kinds = np.array([record.kind for record in images.records])
    return assess(images.y, scores, np.array(images.groups), kinds, threshold=threshold, **vars(wanted))


def answer(about: Bundle, made: Certification, images: Labelled, out: Path) -> dict[str, Any]:
    """Return what `certify --json` prints."""
    return {
        "bundle": str(out),
        "old_threshold": about.threshold,
        **codec.to_json(made),
        "patients_known": images.patients_known,
        "n_left_out": images.n_left_out,
        "rejected": [[file.path, file.reason] for file in images.manifest.rejected],
    }
