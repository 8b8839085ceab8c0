"""Whose each image is: by a table's column, DICOM's PatientID, a folder a patient, an expression, or a known archive.

A rule that would be wrong for a part of the source isn't used for any of it, and the reason is said: one PatientID
that all files share, or names that only some files have.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pneumo_core.data.folders import Entry
from pneumo_core.data.sources import Found
from pneumo_core.errors import DataError
from pneumo_core.text import inline

Groups = list[str | None]
"""The patient of each image, None where it isn't known."""

_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"(NORMAL2-IM|IM)-(\d+)-\d+", re.IGNORECASE)
_NIH = re.compile(r"(000\d{5})_\d{3}")  # patients 1 to 30,805; eight other digits are often a date
_PATIENT_FOLDER = re.compile(r"(patients?|pat|pid|subjects?|subj|person|case|mrn)[ _-]?\w*\d\w*|p\d{8}", re.IGNORECASE)
_NO_PATIENT_FOLDER = re.compile(
    r"(images?|imgs?|pngs?|jpe?gs?|dicoms?|files?|data|batch|part|fold|split|chunk|shard|set|"
    r"train(ing)?|val|valid(ation)?|test(ing)?|study|series|views?|frontal|lateral|pa|ap|p)[ _-]?\d*",
    re.IGNORECASE,
)
_MOST_A_FOLDER = 8  # images, in the middle folder: fewer look like one patient's, more like a batch
_FEWEST_FOLDERS = 10
_PLACEHOLDER_FROM = 20  # from so many DICOM files on, a PatientID that most of them share names no patient


@dataclass(frozen=True, kw_only=True)
class Patients:
    """The group and kind of each image; an image whose patient isn't known is a group of its own, named by its path."""

    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    how: str  # in a few words; "" where no patient is known
    notes: tuple[str, ...] = ()


def assign(found: Sequence[Found], dicom: Sequence[str], column: str | None, rule: str) -> Patients:
    """Return whose images `found` are.

    `dicom` has a digest of each file's PatientID, or ""; `column` is the table's that names patients; `rule` is that
    of `SourceSpec.patient`. An expression of the user's comes before what DICOM and folders say. Raises
    `DataError` for an expression that fits no path.
    """
    notes: list[str] = []
    groups: Groups = [None] * len(found)
    used: list[str] = []
    for name, assign_by in _rules(found, dicom, column, rule):
        if all(group is not None for group in groups):
            break
        answer, note = assign_by()
        if note:
            notes.append(note)
        before = groups.count(None)
        groups = [old if old is not None else new for old, new in zip(groups, answer, strict=True)]
        if groups.count(None) < before:
            used.append(name)
    kaggle = _is_kaggle(found)
    return Patients(
        groups=tuple(group if group is not None else file.path for group, file in zip(groups, found, strict=True)),
        kinds=tuple(_kaggle_kind(file.path) if kaggle else file.kind for file in found),
        how=", then ".join(used),
        notes=tuple(notes),
    )


def of_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the patients of files without labels by folders or names, or a file's own path where these say nothing."""
    entries = [Entry(path=path, size=0, mtime_ns=0) for path in paths]
    found = [Found(entry=entry, label=0, official_role=None, kind="", within=entry.path) for entry in entries]
    return assign(found, [""] * len(found), None, "auto").groups


def _rules(
    found: Sequence[Found], dicom: Sequence[str], column: str | None, rule: str
) -> list[tuple[str, Callable[[], tuple[Groups, str]]]]:
    """Return the rules in order: what a few words call each, and its answer with a remark."""
    of_column = [(f"column `{column}`", lambda: (_by_column(found), ""))] if column else []
    automatic: dict[str, tuple[str, Callable[[], tuple[Groups, str]]]] = {
        "dicom": ("DICOM's PatientID", lambda: _by_dicom(dicom, sure=rule == "dicom")),
        "folder": ("the folder of each image", lambda: (_by_folder(found, sure=rule == "folder"), "")),
        "name": (_archive(found), lambda: _by_name(found)),
    }
    if rule == "none":
        return []
    if rule == "auto":
        return [*of_column, *automatic.values()]
    if rule in automatic:
        return [automatic[rule]]
    return [*of_column, (f"the expression {rule!r}", lambda: (_by_expression(found, rule), ""))]


def _by_column(found: Sequence[Found]) -> Groups:
    return [f"patient-{_digest(file.patient)}" if file.patient else None for file in found]


def _by_dicom(digests: Sequence[str], *, sure: bool) -> tuple[Groups, str]:
    """Return DICOM's patients; a value of all files, or of most of many, is no patient."""
    counts = Counter(digest for digest in digests if digest)
    n = counts.total()
    groups: Groups = [f"DICOM-{digest}" if digest else None for digest in digests]
    if sure or not counts:
        return groups, ""
    value, most = counts.most_common(1)[0]
    if not (n > 2 and most == n) and not (n >= _PLACEHOLDER_FROM and most > n / 2):
        return groups, ""
    note = (
        f"DICOM's PatientID has one value in {most} of {n} files, so it names no patient and isn't used for them; "
        "if they really are of one patient, --patient dicom says so"
    )
    return [group if group != f"DICOM-{value}" else None for group in groups], note


def _by_folder(found: Sequence[Found], *, sure: bool) -> Groups:
    """Return the folder that names the patient in each path, None throughout where folders don't look like it."""
    folders = [file.within.split("/")[:-1] for file in found]
    while folders and all(folders) and len({parts[0] for parts in folders}) == 1:
        folders = [parts[1:] for parts in folders]
    chosen = [_patient_folder(parts, sure=sure) for parts in folders]
    names = [name for name in chosen if name is not None]
    if len(names) < len(found) or not names:
        return list(chosen) if sure else [None] * len(found)
    sizes = sorted(Counter(names).values())
    few_each = len(sizes) >= _FEWEST_FOLDERS and sizes[len(sizes) // 2] <= _MOST_A_FOLDER
    looks_right = all(_PATIENT_FOLDER.fullmatch(name) for name in names) or few_each
    return list(chosen) if sure or looks_right else [None] * len(found)


def _patient_folder(parts: Sequence[str], *, sure: bool) -> str | None:
    likely = [part for part in parts if _PATIENT_FOLDER.fullmatch(part)]
    possible = [part for part in parts if not _NO_PATIENT_FOLDER.fullmatch(part)]
    return next(iter([*likely, *possible, *(parts if sure else ())]), None)


def _by_expression(found: Sequence[Found], expression: str) -> Groups:
    pattern = re.compile(expression)
    matches = [pattern.search(file.path) for file in found]
    if found and not any(matches):
        raise DataError(f"--patient {expression!r} fits no path, such as `{inline(found[0].path)}`")
    return [(match[1] if pattern.groups else match[0]) or None if match else None for match in matches]


def _by_name(found: Sequence[Found]) -> tuple[Groups, str]:
    """Return the patients by the names of a known archive, only where the whole source has such names."""
    kaggle, nih = [_kaggle_patient(file.path) for file in found], [_nih_patient(file.path) for file in found]
    if _is_kaggle(found):
        return list(kaggle), ""
    if found and all(nih):
        return list(nih), ""
    n_like, first = max((len(found) - names.count(None), _first_without(found, names)) for names in (kaggle, nih))
    unlike = (
        f"{n_like} of {len(found)} file names look like those of a known archive, not all (`{inline(first)}` doesn't)"
    )
    note = f"{unlike}, so names identify no patient; --patient REGEX can" if n_like and first else ""
    return [None] * len(found), note


def _archive(found: Sequence[Found]) -> str:
    return f"file names of {'the Kaggle archive' if _is_kaggle(found) else 'NIH ChestX-ray14'}"


def _is_kaggle(found: Sequence[Found]) -> bool:
    """Return whether all names are of the Kaggle archive: `IM-0001-0001` alone is the name of many DICOM exports."""
    stems = [PurePosixPath(file.path).stem for file in found]
    persons = [bool(_PNEUMONIA.match(stem)) for stem in stems]
    return any(persons) and all(
        person or _NORMAL.match(stem) is not None for person, stem in zip(persons, stems, strict=True)
    )


def _kaggle_patient(path: str) -> str | None:
    """Return the patient of a name of the Kaggle archive (Kermany et al. 2018): numbers are unique within a kind."""
    stem = PurePosixPath(path).stem
    if match := _PNEUMONIA.match(stem):
        return f"{match[2].lower()}-{match[1]}"
    match = _NORMAL.match(stem)
    return f"{match[1].upper()}-{match[2]}" if match else None


def _kaggle_kind(path: str) -> str:
    match = _PNEUMONIA.match(PurePosixPath(path).stem)
    return match[2].lower() if match else "normal"


def _nih_patient(path: str) -> str | None:
    match = _NIH.fullmatch(PurePosixPath(path).stem)
    return f"NIH-{match[1]}" if match else None


def _first_without(found: Sequence[Found], names: Sequence[str | None]) -> str:
    return next((file.path for file, name in zip(found, names, strict=True) if name is None), "")


def _digest(text: str) -> str:
    """Return what replaces a patient's identifier: a hospital's own must not reach reports and bundles."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
