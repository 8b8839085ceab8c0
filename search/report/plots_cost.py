"""Pictures of what the search cost: time, parameters, and when it ran."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from search.report import axis_scale, marks, svg
from search.report.data import TrialRow
from search.report.markup import Html
from search.report.numbers import STATE_WORDS
from search.report.svg import LIGHT, WIDE

LOG_FROM = 5  # times the smallest: below, a linear axis has better ticks


def cost(trials: Sequence[TrialRow]) -> Html:
    """Draw partial AUC against the seconds and the parameters that it took."""

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        marks.points(left, trials, lambda row: row.seconds, marks.pauc)
        marks.points(right, trials, lambda row: row.n_parameters, marks.pauc)
        _cost_axis(left, [row.seconds for row in trials])
        _cost_axis(right, [row.n_parameters for row in trials])
        left.set(xlabel="training time, s", ylabel="partial AUC")
        right.set_xlabel("parameters of the model")
        marks.legend(figure, left)

    return svg.draw(paint, name="cost", size=WIDE, alt="Partial AUC against training seconds, and against parameters")


def timeline(trials: Sequence[TrialRow]) -> Html:
    """Draw when each trial ran, since the first began."""
    ran = [(row, row.began, row.ended) for row in trials if row.began and row.ended]
    first, last = min(began for _, began, _ in ran), max(ended for *_, ended in ran)
    unit_s, unit = axis_scale.time_unit((last - first).total_seconds())

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, began, ended in ran:
            start, length = (began - first).total_seconds() / unit_s, (ended - began).total_seconds() / unit_s
            axes.barh(row.number, length, left=start, height=0.8, color=marks.BARS.get(row.state, LIGHT))
        axes.set(xlabel=f"{unit} since the first trial began", ylabel="trial")
        axes.invert_yaxis()
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        seen = [state for state in marks.BARS if any(row.state == state for row, *_ in ran)]
        handles = [Patch(color=marks.BARS[state], label=STATE_WORDS[state]) for state in seen]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, borderaxespad=0.2)

    height = min(6.0, 1.6 + 0.09 * len(ran))
    return svg.draw(paint, name="timeline", size=(WIDE[0], height), alt=f"When each of {len(ran)} trials ran")


def _cost_axis(axes: Axes, costs: Sequence[float | None]) -> None:
    """Make the axis logarithmic where what it shows spans enough for that."""
    known = [cost for cost in costs if cost]
    if known and max(known) > LOG_FROM * min(known):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
