"""Known data sets by name: which column means what, and which values are ill and healthy.

RSNA: "RSNA Pneumonia Detection Challenge" (2018), `stage_2_train_labels.csv`; NIH: ChestX-ray14 (Wang et al. 2017),
`Data_Entry_2017.csv`; CheXpert (Irvin et al. 2019), `train.csv`; COVID-19 Radiography Database (Chowdhury et al.
2020), folders `COVID`, `Normal`, ... with `images` and `masks` in each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pneumo_core.data import naming


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns and values of a data set; without `label` it is one of class folders. `classes` are for showing."""

    negative: tuple[str, ...]
    positive: tuple[str, ...]
    classes: tuple[str, str]
    image: str = ""
    label: str = ""
    patient: str | None = None
    separator: str | None = None
    unclear: bool = False  # whether −1 and blanks are labels that need a policy
    note: str = ""


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "rsna": Layout(
            image="patientId",
            label="Target",
            patient="patientId",
            negative=("0",),
            positive=("1",),
            classes=("no pneumonia", "pneumonia"),
            note="RSNA numbers each image as a patient; several images of one person may have several numbers",
        ),
        "nih": Layout(
            image="Image Index",
            label="Finding Labels",
            patient="Patient ID",
            separator="|",
            negative=("No Finding",),
            positive=("Pneumonia",),
            classes=("No Finding", "Pneumonia"),
        ),
        "chexpert": Layout(
            image="Path",
            label="Pneumonia",
            negative=("0",),
            positive=("1",),
            classes=("no pneumonia", "pneumonia"),
            unclear=True,
        ),
        "covid19_radiography": Layout(
            negative=("Normal",),
            positive=("COVID", "Viral Pneumonia"),
            classes=("Normal", "COVID + Viral Pneumonia"),
        ),
    }
)


def of_columns(columns: Sequence[str]) -> str | None:
    """Return the data set whose table has these columns."""
    there = {naming.key(column) for column in columns}
    for name, layout in LAYOUTS.items():
        if layout.label and {naming.key(layout.image), naming.key(layout.label)} <= there:
            return name
    return None
