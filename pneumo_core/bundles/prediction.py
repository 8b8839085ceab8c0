"""What a bundle says about one file, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One file: score and decision, or why there is none."""

    path: str
    score: float | None = None
    decision: str = ""  # the name of the class
    threshold: float | None = None
    error: str = ""
    heatmap: str = ""
    heatmap_error: str = ""  # why there is none, though one was asked for
