"""Which patient an image belongs to, and of what kind it is, as far as its file name tells."""

import re
from pathlib import PurePosixPath

_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"(NORMAL2-IM|IM)-(\d+)-\d+", re.IGNORECASE)
_NIH = re.compile(r"(\d{8})_\d{3}$")


def group_and_kind(path: str, class_name: str) -> tuple[str, str]:
    """Return (patient group, kind) for a relative path.

    Kaggle archive of Kermany et al. 2018: the number is unique within a kind only, so `person1000_bacteria_2931` is
    ("bacteria-1000", "bacteria") and `NORMAL2-IM-0381-0001` is ("NORMAL2-IM-0381", "normal"). NIH ChestX-ray14:
    `00000001_000` is ("NIH-00000001", class name). Any other file is a group of its own, named by its path.
    """
    stem = PurePosixPath(path).stem
    if match := _PNEUMONIA.match(stem):
        kind = match[2].lower()
        return f"{kind}-{match[1]}", kind
    if match := _NORMAL.match(stem):
        return f"{match[1].upper()}-{match[2]}", "normal"
    if match := _NIH.match(stem):
        return f"NIH-{match[1]}", class_name
    return path, class_name
