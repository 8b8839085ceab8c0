"""A bundle: one folder with everything for using a chosen model, and its figures.

    model.keras (or model-1.keras, ... whose logits are averaged) · bundle.json · MODEL_CARD.md · report.html

`bundle.json` names every other file with its digest, and has a digest of itself, so that truncated or altered files are
noticed. This module knows files and JSON only; `predictor` loads the models.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pneumo_core import codec
from pneumo_core.checked import check_range
from pneumo_core.data.rows import PREPROCESSING_VERSION
from pneumo_core.errors import BundleError, StorageError
from pneumo_core.files import storage_errors
from pneumo_core.scoring.certify import Certificate, Guarantee
from pneumo_core.scoring.halves import Halves
from pneumo_core.scoring.shifted import ShiftFigures
from pneumo_core.specs import DataSpec, ObjectiveSpec, TrialSpec

FORMAT = 1  # raise it whenever an older program would read a bundle wrongly
MAX_BYTES = 64 * 2**20  # of `bundle.json`
HIGHEST_THRESHOLD = math.nextafter(1.0, 2.0)  # above every score: nobody is called ill
FILE, CARD, REPORT = "bundle.json", "MODEL_CARD.md", "report.html"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of a bundle, and the trial that it came from."""

    file: str
    data: DataSpec
    trial: int
    spec: TrialSpec


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a file of the bundle must be."""

    sha256: str
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class CalibrationCounts:
    """How many images and patients the certificates rest on."""

    n_images: int
    n_positive_images: int
    n_patients: int
    n_positive_patients: int


def calibration_counts(y: npt.NDArray[Any], groups: npt.NDArray[Any]) -> CalibrationCounts:
    """Count images of labels `y` (n,) and patients `groups` (n,); n may be 0."""
    return CalibrationCounts(
        n_images=len(y),
        n_positive_images=int(y.sum()),
        n_patients=len(np.unique(groups)),
        n_positive_patients=len(np.unique(groups[y == 1])),
    )


@dataclass(frozen=True, kw_only=True)
class Certification:
    """How a threshold was set, and on what: by `finalize`, or by `certify` on other images."""

    time: str  # UTC, ISO 8601
    images: str  # digest of the source: contents, labels, patients
    threshold: float
    guarantee: Guarantee
    ceiling: float
    confidence: float
    shifts: tuple[str, ...] = ()
    certificates: Mapping[str, Certificate]  # by unit
    calibration: CalibrationCounts
    halves: Halves | None = None  # this threshold and the one before, judged on images that set neither
    before: Mapping[str, Any] = field(default_factory=dict)  # figures of all images at the threshold before


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What `bundle.json` says. `frozen` is all that was settled before the test role was opened."""

    format: int = FORMAT
    study: str
    finalize_id: str  # names the run that made it: study, data, candidates, options
    negative: str
    positive: str
    preprocessing_version: int = PREPROCESSING_VERSION
    members: tuple[Member, ...]  # the score of an image is the `average` of theirs
    objective: ObjectiveSpec
    threshold: float  # positive iff score >= threshold
    guarantee: Guarantee  # by what unit the threshold is certified; "none": it is a plug-in threshold
    ceiling: float
    confidence: float
    certificates: Mapping[str, Certificate]  # by unit
    calibration: CalibrationCounts
    shifts: tuple[str, ...] = ()  # names; the promise holds under each of them as well
    certifications: tuple[Certification, ...] = ()  # where `certify` set the threshold: all of them, oldest first
    fingerprint: Mapping[str, Any]  # of study and data
    environment: Mapping[str, str]
    selection: Mapping[str, Any] = field(default_factory=dict)  # how the members were chosen
    test: Mapping[str, Any] = field(default_factory=dict)
    under_shifts: tuple[ShiftFigures, ...] = ()  # of test images, at the threshold
    n_test_openings: int = 0  # of the same images by any study, this one included
    n_calibration_uses: int = 0  # likewise
    created: str = ""  # UTC, ISO 8601
    files: Mapping[str, FileFacts] = field(default_factory=dict)

    @cached_property
    def frozen(self) -> str:
        """Digest of models, preprocessing, threshold and certificates."""
        models = {member.file: self.files[member.file] for member in self.members}
        parts = [self.members, models, self.preprocessing_version, self.threshold, self.guarantee, self.shifts]
        return codec.digest([*map(codec.to_json, parts), codec.to_json(dict(self.certificates))])


def write(folder: Path, bundle: Bundle, fill: Callable[[Path], None]) -> Bundle:
    """Make the bundle `folder`, whole or not at all; `fill(folder)` writes every file but `bundle.json`.

    Returns the bundle with the facts of its files. Raises `StorageError` where something is there already.
    """
    check_free(folder)
    with storage_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}.tmp-{uuid.uuid4().hex}")
        try:
            unfinished.mkdir()
            fill(unfinished)
            whole = seal(unfinished, bundle)
            os.rename(unfinished, folder)  # takes the place of nothing but an empty folder
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return whole


def seal(folder: Path, bundle: Bundle) -> Bundle:
    """Write `bundle.json` over the files in `folder`; return the bundle with their facts.

    A folder that is being filled may be sealed so that it can be used, and sealed again when it is whole.
    """
    whole = replace(bundle, files=file_facts(folder))
    (folder / FILE).write_text(_text(whole), "utf-8")
    return whole


def check_free(folder: Path) -> None:
    """Raise `StorageError` where `folder` holds something: a bundle is never overwritten."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StorageError(f"`{folder}` is there already, and a bundle is never overwritten; choose another folder")


def read(folder: Path) -> Bundle:
    """Return the bundle in `folder`, every file checked against its digest; raises `BundleError` with what is wrong."""
    bundle = _parse(folder)
    if bundle.preprocessing_version != PREPROCESSING_VERSION:
        raise BundleError(
            f"`{folder}` was made with preprocessing version {bundle.preprocessing_version}, this program has "
            f"{PREPROCESSING_VERSION}: the same image would give other pixels; use the program that made it"
        )
    for name, facts in bundle.files.items():
        _check_file(folder, name, facts)
    for member in bundle.members:
        if member.file not in bundle.files:
            raise BundleError(f"`{folder / FILE}` names the model `{member.file}` without a digest")
    return bundle


def file_facts(folder: Path) -> dict[str, FileFacts]:
    """Return size and digest of every file in `folder` but `bundle.json`, by name in sorted order."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != FILE)
    return {path.name: facts_of(path) for path in files}


def facts_of(file: Path) -> FileFacts:
    """Return size and digest of one file."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileFacts(sha256=digest, n_bytes=file.stat().st_size)


def _parse(folder: Path) -> Bundle:
    if not folder.is_dir():
        there = "is a file, not a folder" if folder.exists() else "does not exist"
        raise BundleError(f"bundle `{folder}` {there}; `pneumo finalize STUDY --out {folder}` makes one")
    if not (folder / FILE).is_file():
        raise BundleError(f"`{folder}` is not a bundle: it has no `{FILE}`")
    try:
        data = codec.parse(_text_of(folder / FILE))
        digest = data.pop("digest", None)
        if data.get("format") != FORMAT:
            raise BundleError(f"`{folder}` is a bundle of format {data.get('format')!r}, this program reads {FORMAT}")
        if digest != codec.digest(data):
            raise BundleError(f"`{folder / FILE}` was altered or cut short: its digest doesn't match")
        return _checked(codec.from_json(Bundle, data))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"`{folder / FILE}` was altered or cut short: {error}") from error


def _text_of(file: Path) -> bytes:
    n_bytes = file.stat().st_size
    if n_bytes > MAX_BYTES:
        raise ValueError(f"{n_bytes} bytes, at most {MAX_BYTES} are read")
    return file.read_bytes()


def _checked(bundle: Bundle) -> Bundle:
    """Return `bundle`; raise `ValueError` for values with which it would decide wrongly."""
    if not bundle.members:
        raise ValueError("`members` must name at least one network")
    check_range("threshold", bundle.threshold, 0.0, HIGHEST_THRESHOLD)
    check_range("ceiling", bundle.ceiling, 0.0, 1.0)
    check_range("confidence", bundle.confidence, 0.0, 1.0)
    if not bundle.negative or not bundle.positive or bundle.negative == bundle.positive:
        raise ValueError(f"the classes must have two names, got {bundle.negative!r} and {bundle.positive!r}")
    return bundle


def _check_file(folder: Path, name: str, facts: FileFacts) -> None:
    file = folder / name
    if Path(name).name != name:
        raise BundleError(f"`{folder / FILE}` names a file outside the bundle: {name!r}")
    if not file.is_file():
        raise BundleError(f"`{folder}` was cut short: `{name}` is missing")
    with contextlib.suppress(OSError):
        found = facts_of(file)
        if found == facts:
            return
        if found.n_bytes != facts.n_bytes:
            raise BundleError(f"`{file}` was altered or cut short: {found.n_bytes} bytes, {facts.n_bytes} expected")
        raise BundleError(f"`{file}` was altered: its digest doesn't match")
    raise BundleError(f"`{file}` can't be read")


def _text(bundle: Bundle) -> str:
    data = codec.to_json(bundle)
    return json.dumps({**data, "digest": codec.digest(data)}, indent=1, allow_nan=False)
