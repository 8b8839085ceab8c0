"""From stored values to the grey that a viewer would show: modality table, window or table, inversion.

DICOM PS3.3 C.11.1 (modality), C.11.2 (values of interest), C.7.6.3.1.2 (MONOCHROME1), C.7.5.1.1.2 (padding). What
can't be followed because it is empty or means nothing is passed over for the next best rule, with a note; numbers that
are wrong, such as NaN, are refused: the picture is unknown.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data import grey
from pneumo_core.data.grey import Floats, Levels
from pneumo_core.errors import DataError

_MOST = 1e12  # of any value: a million times more than any modality's


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A table: `entries[0]` for all values up to `first`, the last for all beyond. Empty: it can't be followed."""

    first: float
    entries: Floats

    def __call__(self, values: Floats) -> Floats:
        at = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[at.astype(np.intp)]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a file says about showing its stored values; None for what it doesn't say."""

    eight_bits: bool
    inverted: bool
    padding: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    modality: Lookup | None
    center: float | None
    width: float | None
    function: str
    lookup: Lookup | None
    notes: tuple[str, ...] = ()


def rendered(stored: NDArray[np.integer], rules: Rules) -> tuple[NDArray[np.uint8], str]:
    """Return an image of stored values (h, w) as grey (h, w) with a black background, and the notes on it."""
    _check_numbers(rules)
    image, notes = grey.levels(stored), list(rules.notes)
    padded = _padded(image, rules, notes)
    counts = np.where(padded, 0, image.counts)
    values = _modality(image.values, rules, notes)
    shown = _shown(values, counts, rules, notes)
    shown = np.rint(np.clip(shown, 0, 255))
    shown = np.where(padded, 0.0, 255.0 - shown if rules.inverted else shown)
    return image.shown(shown), "; ".join(notes)


def _check_numbers(rules: Rules) -> None:
    numbers = {
        "RescaleSlope": rules.slope,
        "RescaleIntercept": rules.intercept,
        "WindowCenter": rules.center,
        "WindowWidth": rules.width,
        "PixelPaddingValue": rules.padding[0] if rules.padding else None,
    }
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and abs(value) <= _MOST):
            raise DataError(f"is a DICOM file whose {name} is {value:g}, which no picture has; correct or remove it")


def _padded(image: Levels, rules: Rules, notes: list[str]) -> NDArray[np.bool_]:
    """Return which levels (n,) are padding."""
    none = np.zeros(len(image.values), np.bool_)
    if rules.padding is None:
        return none
    padded = (image.values >= rules.padding[0]) & (image.values <= rules.padding[1])
    if image.counts[~padded].any():
        return np.asarray(padded)
    notes.append(f"PixelPaddingValue {rules.padding[0]:g} is every pixel's and passed over")
    return none


def _modality(values: Floats, rules: Rules, notes: list[str]) -> Floats:
    if rules.modality is not None:
        table = rules.modality(values) if len(rules.modality.entries) else np.empty(0)
        if len(np.unique(table)) > 1:
            return table
        notes.append("ModalityLUTSequence has no usable table and is passed over")
    slope, intercept = rules.slope, rules.intercept or 0.0
    if slope == 0:
        notes.append("RescaleSlope is 0 and taken as 1")
    scaled = values * (slope or 1.0) + intercept
    if np.abs(scaled).max() > _MOST or (len(values) > 1 and np.any(np.diff(scaled) == 0)):
        raise DataError(
            f"is a DICOM file whose RescaleSlope {slope or 1.0:g} and RescaleIntercept {intercept:g} leave no picture; "
            "correct or remove them"
        )
    return scaled


def _shown(values: Floats, counts: NDArray[np.int64], rules: Rules, notes: list[str]) -> Floats:
    """Return the grey, 0 to 255, of each of `values`: by the table, else the window, else the range."""
    there = values[counts > 0]
    for name, rule in (("VOILUTSequence", _by_table), ("window", _by_window)):
        shown = rule(values, rules, notes)
        if shown is None:
            continue
        seen = np.rint(np.clip(shown[counts > 0], 0, 255))
        if seen.max() > seen.min() or there.max() == there.min():
            return shown
        notes.append(f"the {name} shows one grey only and is passed over{_said(name, rules)}")
    if rules.eight_bits and there.min() >= 0 and there.max() <= 255:
        return values  # 8-bit pixels are what they are
    low, high = grey.spread(values, counts)
    if high <= low:
        low, high = float(there.min()), float(there.max())
    return (values - low) * (255.0 / (high - low or 1.0))


def _said(name: str, rules: Rules) -> str:
    return f" (WindowCenter {rules.center:g}, WindowWidth {rules.width:g})" if name == "window" else ""


def _by_table(values: Floats, rules: Rules, notes: list[str]) -> Floats | None:
    if rules.lookup is None:
        return None
    if not len(rules.lookup.entries):
        notes.append("VOILUTSequence has no usable table and is passed over")
        return None
    return rules.lookup(values) * (255.0 / grey.top(float(rules.lookup.entries.max())))


def _by_window(values: Floats, rules: Rules, notes: list[str]) -> Floats | None:
    center, width = rules.center, rules.width
    if center is None and width is None:
        return None
    if center is None or width is None or width <= 0:
        said = ["missing" if value is None else f"{value:g}" for value in (center, width)]
        notes.append(f"the window (WindowCenter {said[0]}, WindowWidth {said[1]}) can't be followed and is passed over")
        return None
    if rules.function not in ("", "LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("VOILUTFunction is unknown and taken as LINEAR")
    if rules.function == "SIGMOID":
        return 255.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -500, 500)))
    if rules.function == "LINEAR_EXACT" or width <= 1:
        return ((values - center) / width + 0.5) * 255.0
    return ((values - (center - 0.5)) / (width - 1.0) + 0.5) * 255.0
