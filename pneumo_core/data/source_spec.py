"""Which images a study learns from, as data: where they are, which class and which patient each belongs to."""

import re
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from pneumo_core.data.layouts import LAYOUTS
from pneumo_core.errors import nearest
from pneumo_core.specs import SplitSpec

Policy = Literal["leave_out", "negative", "positive"]

PATIENT_RULES = ("auto", "dicom", "folder", "name", "none")
JOINED_BY = " + "  # between the names of one class, where it is shown and stored as one text
DEFAULT_CLASSES = ("NORMAL", "PNEUMONIA")


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A CSV file with a row for each image. What is None follows from the names of the columns.

    `file` is looked for under that path, then in the folder of the images. `uncertain` and `blank` say what becomes of
    a label of −1 and of an empty one; a layout that has such labels, CheXpert, is refused while they are None.
    """

    file: str
    image: str | None = None  # column that names the image: a path, a file name, or a file name without its ending
    label: str | None = None
    patient: str | None = None
    split: str | None = None  # column with train, val or test
    separator: str | None = None  # between several values in one cell
    uncertain: Policy | None = None
    blank: Policy | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            if getattr(self, part.name) == "":
                raise ValueError(f"`{part.name}` of a label table must not be empty")
        for name in ("uncertain", "blank"):
            if (value := getattr(self, name)) not in (None, *get_args(Policy)):
                raise ValueError(f"`{name}` must be one of {', '.join(get_args(Policy))}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """Which images: a folder, a `.npz` or `phantom`; None leaves it to `--data`.

    `negative` and `positive` name class folders or, with `labels`, values of the label column; several are given as a
    tuple. None means NORMAL and PNEUMONIA, or what the layout of a known data set says.
    """

    source: str | None = None
    negative: str | tuple[str, ...] | None = None
    positive: str | tuple[str, ...] | None = None
    labels: LabelTable | None = None
    layout: str | None = None  # a name of `layouts.LAYOUTS`
    patient: str = "auto"  # one of `PATIENT_RULES`, or a regular expression over the path whose group is the patient
    follow_links: bool = False  # read links that lead out of the folder
    split: SplitSpec = field(default_factory=SplitSpec)

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(f"`layout` {self.layout!r} is unknown{nearest(self.layout, LAYOUTS)}")
        for name in ("negative", "positive"):
            value = getattr(self, name)
            if value is not None and (not value or not all(_names(value))):
                raise ValueError(f"`{name}` must be the name of a class folder, got an empty text")
        if self.negative is not None and (same := set(_names(self.negative)) & set(_names(self.positive or ()))):
            raise ValueError(f"`negative` and `positive` must differ, got {sorted(same)[0]!r} for both")
        if self.patient not in PATIENT_RULES:
            _check_expression(self.patient)

    @property
    def negatives(self) -> tuple[str, ...]:
        """The names of the negative class; none where they are left to the layout."""
        return _names(self.negative or ())

    @property
    def positives(self) -> tuple[str, ...]:
        """The names of the positive class; none where they are left to the layout."""
        return _names(self.positive or ())


def joined(names: tuple[str, ...]) -> str:
    """Return the names of a class as the one text that is shown and stored; `SourceSpec` takes it apart again."""
    return JOINED_BY.join(names)


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    return tuple(name for text in texts for name in text.split(JOINED_BY))


def _check_expression(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(
            f"`patient` must be one of {', '.join(PATIENT_RULES)} or a regular expression, got {text!r}: {error}"
        ) from error
