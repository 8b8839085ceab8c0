"""How trials look in every picture: a colour, a marker and a word for each state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.report import svg
from search.report.data import State, TrialRow
from search.report.numbers import STATE_WORDS
from search.report.svg import BLUE, GREY, INK, LIGHT, ORANGE

JUDGED: tuple[State, ...] = ("pruned", "infeasible", "feasible")  # in the order they are drawn
LINES: Mapping[State, str] = {"feasible": BLUE, "infeasible": ORANGE, "pruned": GREY}
BARS: Mapping[State, str] = {"feasible": BLUE, "infeasible": ORANGE, "pruned": LIGHT, "failed": INK}
_POINTS: Mapping[State, Mapping[str, Any]] = {
    "feasible": {"marker": "o", "s": 34, "color": BLUE, "linewidth": 0},
    "infeasible": {"marker": "^", "s": 34, "facecolors": "none", "edgecolors": ORANGE, "linewidth": 1.2},
    "pruned": {"marker": "x", "s": 20, "color": GREY, "linewidth": 1.0, "alpha": 0.8},
}

Read = Callable[[TrialRow], float | None]


def points(axes: Axes, trials: Sequence[TrialRow], x: Read, y: Read) -> None:
    """Draw every judged trial that has both coordinates."""
    for state in JUDGED:
        mine = [(x(row), y(row)) for row in judged(trials) if row.state == state]
        known = [(a, b) for a, b in mine if a is not None and b is not None]
        if known:
            across, up = zip(*known, strict=True)
            label = f"{STATE_WORDS[state]} ({len(known)})"
            axes.scatter(across, up, label=label, zorder=JUDGED.index(state) + 2, **_POINTS[state])


def judged(trials: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the trials that have values and metrics."""
    return [row for row in trials if row.metrics is not None and row.values and row.state in JUDGED]


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of `axes` above the figure."""
    svg.legend(figure, *axes.get_legend_handles_labels())


def recall(row: TrialRow) -> float | None:
    return row.metrics.recall if row.metrics else None


def specificity(row: TrialRow) -> float | None:
    return row.metrics.specificity if row.metrics else None


def pauc(row: TrialRow) -> float | None:
    return row.metrics.pauc if row.metrics else None
