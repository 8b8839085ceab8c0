"""Pictures of how the search went: history, trade-off, and what the pruner saw."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from pneumo_core.specs import ObjectiveSpec
from search.report import svg
from search.report.data import TrialRow
from search.report.markup import STATE_WORDS, Html, limit, time_unit
from search.report.svg import BLUE, GREEN, GREY, INK, LIGHT, WIDE, Picture

LOG_FROM = 5  # times the smallest: below, a linear axis has better ticks


def history(trials: Sequence[TrialRow], names: Sequence[str]) -> Picture:
    """Draw the value of every trial in the order they began, and that of the best feasible one so far."""

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for index, axes in enumerate(panels):
            _history(axes, trials, index)
            axes.set_ylabel(svg.plain(names[index]))
        panels[-1].set_xlabel("trial")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        svg.legend_of(figure, panels[0])

    height = WIDE[1] if len(names) == 1 else 1.5 * WIDE[1]
    alt = f"Value of {len(trials)} trials in order, with the best so far"
    return svg.draw(paint, size=(WIDE[0], height), phone_height=height, alt=alt)


def best_so_far(trials: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the feasible trials that were the best when they ended, in order."""
    steps: list[TrialRow] = []
    for row in trials:
        if row.state == "feasible" and (not steps or sum(row.values) > sum(steps[-1].values)):
            steps.append(row)
    return steps


def trade_off(trials: Sequence[TrialRow], objective: ObjectiveSpec, shown: TrialRow | None) -> Picture:
    """Draw recall against specificity of all trials, whole and enlarged where ceiling and floor meet."""

    def paint(figure: Figure) -> None:
        whole, corner = svg.halves(figure)
        for axes in (whole, corner):
            _trade_off(axes, trials, objective, shown)
        whole.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title="whole")
        floor, least = objective.specificity_floor, 1 - objective.fnr_ceiling
        low_x, low_y = floor - 0.5 * (1 - floor), least - 2.5 * (1 - least)
        if shown and shown.metrics:
            low_x, low_y = min(low_x, shown.metrics.specificity - 0.02), min(low_y, shown.metrics.recall - 0.02)
        corner.set(xlim=(low_x, 1 + 0.04 * (1 - low_x)), ylim=(low_y, 1 + 0.04 * (1 - low_y)))
        corner.set_title("enlarged: the corner that meets both")
        svg.mark(corner, f"FNR ceiling {limit(objective.fnr_ceiling)}", low_x, least, GREEN)
        svg.mark(corner, f"floor {limit(floor)}", floor, low_y, GREEN)
        svg.legend_of(figure, whole)

    alt = "Recall against specificity of all trials; the corner that meets ceiling and floor is shaded"
    return svg.draw(paint, size=(WIDE[0], 4.6), phone_height=7.6, alt=alt)


def learning(trials: Sequence[TrialRow], watched: str, step: str = "epoch") -> Picture:
    """Draw what the pruner watched of every trial by epoch (or another `step`), pruned ones ending in a cross."""
    reported = [row for row in trials if row.reported]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row in sorted(reported, key=lambda row: row.state == "feasible"):
            _learning(axes, row)
        for label, color in (("meets the ceiling", BLUE), ("misses it", svg.LINES["infeasible"]), ("pruned ×", GREY)):
            axes.plot([], [], color=color, label=label)
        axes.set(xlabel=step, ylabel=watched)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        svg.legend_of(figure, axes)

    alt = f"{watched} of {len(reported)} trials by {step}"
    return svg.draw(paint, size=WIDE, phone_height=3.8, alt=alt)


def frame_bottom(values: Sequence[float]) -> float:
    """Return where the frame of a history begins: a few hopeless trials must not flatten all others."""
    low, quarter, high = np.quantile(values, [0, 0.25, 1])
    return float(max(low, quarter - 0.5 * (high - quarter)))


def _history(axes: Axes, trials: Sequence[TrialRow], index: int) -> None:
    bottom = frame_bottom([row.values[index] for row in svg.judged(trials)])
    svg.points(axes, trials, lambda row: row.number, lambda row: max(row.values[index], bottom))
    steps = best_so_far(trials)
    if steps:
        x, y = [row.number for row in steps], [row.values[index] for row in steps]
        last = max(row.number for row in trials)
        axes.step([*x, last], [*y, y[-1]], where="post", color=BLUE, linewidth=1.4, label="best so far")
    failed = [row.number for row in trials if row.state == "failed"]
    if failed:
        edge = [axes.get_ylim()[0]] * len(failed)
        axes.plot(failed, edge, "|", color=INK, markersize=9, label=f"failed ({len(failed)})", clip_on=False)


def _trade_off(axes: Axes, trials: Sequence[TrialRow], objective: ObjectiveSpec, shown: TrialRow | None) -> None:
    floor, least = objective.specificity_floor, 1 - objective.fnr_ceiling
    axes.fill_between([floor, 1.1], least, 1.1, color=GREEN, alpha=0.10, linewidth=0)
    axes.axhline(least, color=GREEN, linewidth=1.1, linestyle=(0, (5, 2)))
    axes.axvline(floor, color=GREEN, linewidth=1.1, linestyle=(0, (1, 1.5)))
    svg.points(axes, trials, svg.specificity, svg.recall)
    front = pareto(trials)
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="pre", color=BLUE, linewidth=1, alpha=0.7, label="Pareto front")
    if shown and shown.metrics:
        x, y = shown.metrics.specificity, shown.metrics.recall
        label = f"trial {shown.number}, shown here"
        axes.scatter([x], [y], s=150, facecolors="none", edgecolors=INK, linewidth=1.3, zorder=6, label=label)
    axes.set(xlabel="specificity", ylabel="recall (sensitivity)")


def pareto(trials: Sequence[TrialRow]) -> list[tuple[float, float]]:
    """Return (specificity, recall) of the feasible trials that none beats in both; empty with one objective."""
    measured = [row.metrics for row in trials if row.state == "feasible" and row.metrics and len(row.values) > 1]
    points = sorted({(m.specificity, m.recall) for m in measured})
    return [p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)]


def _learning(axes: Axes, row: TrialRow) -> None:
    epochs = sorted(row.reported)
    x, y = [epoch + 1 for epoch in epochs], [row.reported[epoch] for epoch in epochs]
    width = 1.4 if row.state == "feasible" else 0.9
    axes.plot(x, y, color=svg.LINES.get(row.state, GREY), linewidth=width, alpha=0.8)
    if row.state == "pruned":
        axes.plot(x[-1:], y[-1:], "x", color=GREY, markersize=5)


def cost(trials: Sequence[TrialRow]) -> Html:
    """Draw partial AUC against the seconds and the parameters that it took."""

    def paint(figure: Figure) -> None:
        left, right = svg.halves(figure)
        svg.points(left, trials, lambda row: row.seconds, svg.pauc)
        svg.points(right, trials, lambda row: row.n_parameters, svg.pauc)
        _cost_axis(left, [row.seconds for row in trials])
        _cost_axis(right, [row.n_parameters for row in trials])
        left.set(xlabel="training time, s", ylabel="partial AUC")
        right.set(xlabel="parameters of the model", ylabel="partial AUC")
        svg.legend_of(figure, left)

    alt = "Partial AUC against training seconds, and against parameters"
    return svg.draw(paint, size=WIDE, phone_height=6.6, alt=alt)


def timeline(trials: Sequence[TrialRow]) -> Html:
    """Draw when each trial ran, since the first began."""
    ran = [(row, row.began, row.ended) for row in trials if row.began and row.ended]
    first, last = min(began for _, began, _ in ran), max(ended for *_, ended in ran)
    unit_s, unit = time_unit((last - first).total_seconds())

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, began, ended in ran:
            start, length = (began - first).total_seconds() / unit_s, (ended - began).total_seconds() / unit_s
            axes.barh(row.number, length, left=start, height=0.8, color=svg.BARS.get(row.state, LIGHT))
        axes.set(xlabel=f"{unit} since the first trial began", ylabel="trial")
        axes.invert_yaxis()
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        seen = [state for state in svg.BARS if any(row.state == state for row, *_ in ran)]
        handles = [Patch(color=svg.BARS[state], label=STATE_WORDS[state]) for state in seen]
        svg.legend(figure, handles, [STATE_WORDS[state] for state in seen])

    height = min(6.0, 1.6 + 0.09 * len(ran))
    alt = f"When each of {len(ran)} trials ran"
    return svg.draw(paint, size=(WIDE[0], height), phone_height=height + 0.4, alt=alt)


def _cost_axis(axes: Axes, costs: Sequence[float | None]) -> None:
    """Make the axis logarithmic where what it shows spans enough for that."""
    known = [cost for cost in costs if cost]
    if known and max(known) > LOG_FROM * min(known):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
