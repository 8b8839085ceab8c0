"""Pictures of what the settings did: importance and parallel coordinates."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.report import svg
from search.report.data import Importance, TrialRow
from search.report.svg import BLUE, GREEN, GREY, INK, LIGHT, NARROW, PAPER, WIDE, Picture

MAX_AXES = 10  # of parallel coordinates: more can't be read
MAX_BARS = 10

Column = Callable[[TrialRow], object]
ABSENT = "not used"
_DECADES = 2.0  # a positive parameter that spans more than this factor of ten is drawn on a log scale... in 10^n


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`place(value)` is in [0, 1]; `ticks` are (place, label)."""

    place: Callable[[object], float]
    ticks: tuple[tuple[float, str], ...]


def importance(found: Importance) -> Picture:
    """Draw the largest shares of one target as bars."""
    largest = list(found.shares.items())[:MAX_BARS]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        names, shares = [svg.plain(name, 40) for name, _ in largest], [share for _, share in largest]
        axes.barh(range(len(names)), shares, color=GREEN if found.target == "feasibility" else BLUE, height=0.66)
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="y", visible=False)
        for y, share in enumerate(shares):
            axes.annotate(f"{share:.0%}", (share, y), (3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set(xlim=(0, max(shares) * 1.15), xlabel="share of importance", title=svg.plain(f"for {found.target}"))
        axes.invert_yaxis()

    size = (NARROW[0], 0.9 + 0.27 * len(largest))
    return svg.draw(paint, size=size, alt=f"Parameter importance for {found.target}")


def parallel(trials: Sequence[TrialRow], parameters: Sequence[str], name: str, shown: TrialRow | None) -> Picture:
    """Draw every judged trial as a line over up to `MAX_AXES` parameters and the value `name`."""
    found = sorted(svg.judged(trials), key=lambda row: (row is shown, svg.JUDGED.index(row.state)))
    columns = {f"parameter {key}": _parameter(key) for key in parameters[:MAX_AXES]} | {f"value {name}": _value}
    scales = [fit([read(row) for row in found]) for read in columns.values()]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row in found:
            y = [scale.place(read(row)) for scale, read in zip(scales, columns.values(), strict=True)]
            _line(axes, row, y, row is shown)
        for x, scale in enumerate(scales):
            _axis(axes, x, scale)
        labels = [svg.plain(key.partition(" ")[2], 40) for key in columns]
        axes.set_xticks(range(len(columns)), labels, rotation=20, ha="right", rotation_mode="anchor")
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xlim=(-0.15, len(columns) - 0.45), ylim=(-0.06, 1.06))

    alt = f"Parallel coordinates of {len(found)} trials over {len(columns) - 1} parameters"
    return svg.draw(paint, size=(WIDE[0], 4.4), alt=alt)


def _parameter(name: str) -> Column:
    return lambda row: row.params.get(name)


def _value(row: TrialRow) -> object:
    return row.values[0]


def _line(axes: Axes, row: TrialRow, y: Sequence[float], shown: bool) -> None:
    alpha = 1.0 if shown else {"feasible": 0.75, "infeasible": 0.45}.get(row.state, 0.25)
    color = INK if shown else svg.LINES.get(row.state, GREY)
    axes.plot(range(len(y)), y, "o-", color=color, alpha=alpha, linewidth=2.4 if shown else 1.0, markersize=2.5)


def _axis(axes: Axes, x: int, scale: Scale) -> None:
    axes.axvline(x, color=LIGHT, linewidth=1, zorder=0)
    for at, label in scale.ticks:
        axes.annotate(
            "\n".join(textwrap.wrap(svg.plain(label), 13)),
            (x, at),
            (5, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            bbox={"color": PAPER, "alpha": 0.75, "pad": 0.6},
        )


def fit(values: Sequence[object]) -> Scale:
    """Return a scale for `values`; None among them is a choice of its own, or the bottom of a numeric axis."""
    present = [value for value in values if value is not None]
    numbers = [float(v) for v in present if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(present) and numbers:
        return _numeric(numbers, has_absent=len(present) < len(values))
    return _choices(values)


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
