"""Where a value of any kind stands on an axis from 0 to 1: numbers, numbers over decades, and choices."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ABSENT = "not used"
_DECADES = 2.0  # a positive parameter that spans more than this factor of ten is drawn on a log scale... in 10^n


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`place(value)` is in [0, 1]; `ticks` are (place, label)."""

    place: Callable[[object], float]
    ticks: tuple[tuple[float, str], ...]


def fit(values: Sequence[object]) -> Scale:
    """Return a scale for `values`; None among them is a choice of its own, or the bottom of a numeric axis."""
    present = [value for value in values if value is not None]
    numbers = [float(v) for v in present if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(present) and numbers:
        return _numeric(numbers, has_absent=len(present) < len(values))
    return _choices(values)


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit that suits a span of `seconds`."""
    return next(
        ((size, name) for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds > 2 * size),
        (1, "seconds"),
    )


def _numeric(numbers: Sequence[float], has_absent: bool) -> Scale:
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low > 10**_DECADES
    start, stop = (math.log10(low), math.log10(high)) if log else (low, high)
    bottom = 0.14 if has_absent else 0.0

    def place(value: object) -> float:
        if not isinstance(value, int | float):
            return 0.0
        at = math.log10(value) if log else float(value)
        return bottom + (1 - bottom) * ((at - start) / (stop - start) if stop > start else 0.5)

    middle = 10 ** ((start + stop) / 2) if log else (start + stop) / 2
    shown = [low, middle, high] if high > low else [low]
    ticks = [(place(value), f"{value:.3g}") for value in shown]
    return Scale(place=place, ticks=tuple([(0.0, ABSENT), *ticks] if has_absent else ticks))


def _choices(values: Sequence[object]) -> Scale:
    labels = sorted({_label(value) for value in values}, key=lambda label: (label != ABSENT, label))
    places = {label: index / (len(labels) - 1) if len(labels) > 1 else 0.5 for index, label in enumerate(labels)}
    return Scale(place=lambda value: places[_label(value)], ticks=tuple((at, label) for label, at in places.items()))


def _label(value: object) -> str:
    return ABSENT if value is None else str(value)
