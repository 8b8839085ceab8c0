"""A table of labels: the meaning of its columns, and the label of each row's image."""

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumo_core.data import layouts, naming
from pneumo_core.data.layouts import LAYOUTS, Layout
from pneumo_core.data.manifest import OfficialRole
from pneumo_core.data.source_spec import DEFAULT_CLASSES, LabelTable, SourceSpec, joined
from pneumo_core.data.sources import role_named
from pneumo_core.errors import DataError
from pneumo_core.text import inline

EVERYTHING_ELSE = "*"  # as the name of the negative class: every value that isn't positive
_HEAD_BYTES = 4096
_MAX_BYTES = 512 * 2**20  # NIH's has 8 MB for 112,000 images
_USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file", "file name", "path", "image path", "image index", "image id", "id"),
    "label": ("label", "class", "target", "finding", "diagnosis", "finding labels"),
    "patient": ("patient", "patient id", "patientid", "subject", "subject id"),
    "split": ("split", "subset", "role", "set"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one row says. `label` is None for a value of neither class or one that policy leaves out; then `why`."""

    image: str
    label: int | None
    value: str
    why: str = ""
    patient: str = ""
    role: OfficialRole | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a label table with what its columns and values mean."""

    file: str
    rows: tuple[Row, ...]
    classes: tuple[str, str]
    patient_column: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Meaning:
    """Columns by what they mean, and values by their class, as compared."""

    image: str
    label: str
    patient: str | None
    split: str | None
    separator: str | None
    negative: frozenset[str]
    positive: frozenset[str]
    uncertain: str | None
    blank: str | None


def read(spec: SourceSpec, labels: LabelTable, root: Path) -> Table:
    """Return the table of `spec`; raises `DataError` saying which column or value isn't clear, and what to give."""
    file = _located(labels.file, root)
    columns, lines = _lines(file)
    name = spec.layout or (layouts.of_columns(columns) if labels.label is None else None)
    layout = LAYOUTS[name] if name else None
    meaning, classes = _meaning(spec, labels, layout, columns, file)
    _refuse_unclear(meaning, layout, lines, file)
    notes = [_describe(file, name, meaning), *([layout.note] if layout and layout.note else [])]
    return Table(
        file=file.name,
        rows=tuple(_row(line, meaning) for line in lines),
        classes=classes,
        patient_column=meaning.patient,
        notes=tuple(notes),
    )


def _located(name: str, root: Path) -> Path:
    for file in (Path(name).expanduser(), root / name):
        if file.is_file():
            return file
    raise DataError(f"the label table `{name}` is neither there nor in `{root}`")


def _lines(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows by column; every cell is a text without blanks around it."""
    if file.stat().st_size > _MAX_BYTES:
        raise DataError(f"the label table `{file}` has more than {_MAX_BYTES} bytes")
    try:
        with file.open(encoding=_encoding(file), errors="surrogateescape", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(",;\t", key=head.count), restval="")
            lines = [{str(k).strip(): v.strip() for k, v in line.items() if isinstance(v, str)} for line in reader]
            columns = [column.strip() for column in reader.fieldnames or ()]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"the label table `{file}` is no CSV file ({error}); save it as one, in UTF-8") from error
    if not columns or not lines:
        raise DataError(f"the label table `{file}` has no row; its first line must name the columns")
    return columns, lines


def _encoding(file: Path) -> str:
    """Return what a table is written in; bytes that are no UTF-8 stay, since names of files may be such."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise DataError(f"the label table `{file}` is no text; save it as CSV, in UTF-8")
    return "utf-8-sig"


def _meaning(
    spec: SourceSpec, labels: LabelTable, layout: Layout | None, columns: Sequence[str], file: Path
) -> tuple[_Meaning, tuple[str, str]]:
    def column(part: str, *, needed: bool) -> str | None:
        given = getattr(labels, part) or (getattr(layout, part, None) if layout else None)
        return _column(part, given, columns, file, needed=needed, usual=layout is None)

    negatives, positives = (
        spec.negatives or (layout.negative if layout else DEFAULT_CLASSES[:1]),
        spec.positives or (layout.positive if layout else DEFAULT_CLASSES[1:]),
    )
    shown = layout.classes if layout else DEFAULT_CLASSES
    meaning = _Meaning(
        image=column("image", needed=True) or "",
        label=column("label", needed=True) or "",
        patient=column("patient", needed=False),
        split=column("split", needed=False),
        separator=labels.separator or (layout.separator if layout else None),
        negative=_values(negatives, "0", spec.negatives or layout),
        positive=_values(positives, "1", spec.positives or layout),
        uncertain=labels.uncertain,
        blank=labels.blank,
    )
    classes = (joined(spec.negatives) or shown[0], joined(spec.positives) or shown[1])
    return meaning, (f"not {classes[1]}" if classes[0] == EVERYTHING_ELSE else classes[0], classes[1])


def _column(
    part: str, given: str | None, columns: Sequence[str], file: Path, *, needed: bool, usual: bool
) -> str | None:
    by_key = {naming.key(column).replace("_", " "): column for column in columns}
    if given is not None:
        if (found := by_key.get(naming.key(given).replace("_", " "))) is not None:
            return found
        raise DataError(f"`{file}` has no column `{given}`; it has {_listed(columns)}")
    found = next((by_key[name] for name in _USUAL[part] if name in by_key), None) if usual else None
    if found is None and needed:
        raise DataError(f"which column of `{file}` names the {part}? Give --{part}-column; it has {_listed(columns)}")
    return found


def _listed(columns: Sequence[str]) -> str:
    return inline(", ".join(columns))


def _values(names: Sequence[str], number: str, given: object) -> frozenset[str]:
    """Return values as they are compared; without given ones 0 and 1 mean the classes as well."""
    return frozenset(_value(name) for name in names) | (frozenset() if given else frozenset({number}))


def _value(text: str) -> str:
    """Return a cell as it is compared: 1, 1.0 and " 1" are one value."""
    try:
        number = float(text)
    except ValueError:
        return naming.key(text.strip())
    return str(int(number)) if number.is_integer() else str(number)


def _row(line: Mapping[str, str], meaning: _Meaning) -> Row:
    value = line.get(meaning.label, "")
    label, why = _label(value, meaning)
    return Row(
        image=line.get(meaning.image, "").replace("\\", "/"),
        label=label,
        value=value,
        why=why,
        patient=line.get(meaning.patient, "") if meaning.patient else "",
        role=role_named(line.get(meaning.split, "")) if meaning.split else None,
    )


def _label(text: str, meaning: _Meaning) -> tuple[int | None, str]:
    """Return the label, or None and why: one positive value makes an image positive, whatever else is found."""
    values = {_value(part) for part in (text.split(meaning.separator) if meaning.separator else [text])}
    if values & meaning.positive:
        return 1, ""
    if values <= meaning.negative:
        return 0, ""
    if values in ({""}, {"-1"}):
        return _by_policy(meaning.blank if values == {""} else meaning.uncertain, text)
    if EVERYTHING_ELSE in meaning.negative:
        return 0, ""
    return None, f"with a value of neither class in `{meaning.label}`"


def _by_policy(policy: str | None, text: str) -> tuple[int | None, str]:
    if policy in ("negative", "positive"):
        return int(policy == "positive"), ""
    return None, f"with {'an uncertain label, −1' if text else 'a blank label'}"


def _refuse_unclear(meaning: _Meaning, layout: Layout | None, lines: Sequence[Mapping[str, str]], file: Path) -> None:
    """Raise `DataError` where a layout has uncertain or blank labels and their meaning is not given."""
    if layout is None or not layout.unclear:
        return
    values = [_value(line.get(meaning.label, "")) for line in lines]
    for option, value, policy in (("uncertain", "-1", meaning.uncertain), ("blank", "", meaning.blank)):
        if (n := values.count(value)) and policy is None and value not in meaning.negative | meaning.positive:
            shown = "−1, uncertain," if value else "blank, not mentioned,"
            raise DataError(
                f"`{meaning.label}` is {shown} in {n} of {len(values)} rows of `{file}`: "
                f"say what that means with --{option} leave_out, negative or positive"
            )


def _describe(file: Path, layout: str | None, meaning: _Meaning) -> str:
    policies = [
        f"{what} labels: {policy.replace('_', ' ')}"
        for what, policy in (("uncertain", meaning.uncertain), ("blank", meaning.blank))
        if policy
    ]
    return "; ".join(
        [
            f"labels from `{file.name}`{f' ({layout} layout)' if layout else ''}: "
            f"image in `{meaning.image}`, label in `{meaning.label}`",
            *policies,
        ]
    )
