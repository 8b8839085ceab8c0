"""The options that say how images are read: classes, labels, patients, links. One set for every command that reads."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pneumo_core.errors import UserError

if TYPE_CHECKING:
    from pneumo_core.data.source_spec import LabelTable, SourceSpec

Policy = Literal["leave_out", "negative", "positive"]
_PANEL = "How images are read"


def _option(help_text: str, *, metavar: str | None = None) -> Any:
    return typer.Option(help=help_text, metavar=metavar, rich_help_panel=_PANEL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """The options for reading images; None and False leave it to the study."""

    negative: Annotated[
        list[str] | None, _option("Class folder, or value in --labels, of healthy images. May be repeated.")
    ] = None
    positive: Annotated[
        list[str] | None, _option("Class folder, or value in --labels, of ill images. May be repeated.")
    ] = None
    labels: Annotated[Path | None, _option("Read labels from a table, not from folders.", metavar="FILE.csv")] = None
    layout: Annotated[
        Literal["rsna", "nih", "chexpert", "covid19_radiography"] | None,
        _option("A known data set. One with a table is recognised by its columns."),
    ] = None
    image_column: Annotated[str | None, _option("Column of --labels that names the image.", metavar="NAME")] = None
    label_column: Annotated[str | None, _option("Column of --labels with the label.", metavar="NAME")] = None
    patient_column: Annotated[str | None, _option("Column of --labels that names the patient.", metavar="NAME")] = None
    split_column: Annotated[
        str | None, _option("Column of --labels with train, val or test, where test is the test role.", metavar="NAME")
    ] = None
    separator: Annotated[str | None, _option("Between several values of a cell, such as '|'.", metavar="TEXT")] = None
    uncertain: Annotated[Policy | None, _option("What a label of -1 means.")] = None
    blank: Annotated[Policy | None, _option("What an empty label means.")] = None
    patient: Annotated[
        str | None,
        _option(
            "How to identify patients: auto, dicom, folder, name, none, or a regular expression over the path whose "
            "group is the patient, such as 'patient(\\d+)'.",
            metavar="RULE|REGEX",
        ),
    ] = None
    follow_links: Annotated[bool, _option("Follow links that lead out of the folder.")] = False

    def over(self, spec: "SourceSpec") -> "SourceSpec":
        """Return `spec` with what is given here. Raises `ValueError` for impossible values."""
        changes: dict[str, Any] = {
            "negative": tuple(self.negative or ()) or spec.negative,
            "positive": tuple(self.positive or ()) or spec.positive,
            "labels": self._table(spec.labels),
            "layout": self.layout or spec.layout,
            "patient": self.patient or spec.patient,
            "follow_links": self.follow_links or spec.follow_links,
        }
        return dataclasses.replace(spec, **changes)

    def _table(self, known: "LabelTable | None") -> "LabelTable | None":
        from pneumo_core.data.source_spec import LabelTable

        columns = {name: getattr(self, f"{name}_column") for name in ("image", "label", "patient", "split")}
        other = {name: getattr(self, name) for name in ("separator", "uncertain", "blank")}
        given = {name: value for name, value in (columns | other).items() if value is not None}
        if self.labels is not None:
            file = str(self.labels.absolute() if self.labels.exists() else self.labels)
            return dataclasses.replace(known or LabelTable(file=file), file=file, **given)
        if given and known is None:
            name = next(iter(given))
            raise UserError(f"--{name}{'-column' if name in columns else ''} is about a table: give --labels FILE.csv")
        return dataclasses.replace(known, **given) if known else None
