"""Pictures of one trial on validation: ROC, scores, calibration, decision, training curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from pneumo_core.result import TrialResult
from pneumo_core.scoring import curves
from pneumo_core.scoring.metrics import Bools
from pneumo_core.specs import ObjectiveSpec
from search.report import svg
from search.report.data import Compared, Leaning, Performance
from search.report.svg import BLUE, GREEN, GREY, INK, LIGHT, NARROW, ORANGE, PURPLE, SKY, THIRD, WIDE, YELLOW, Picture

_OTHERS = ((PURPLE, (0, (5, 2))), (YELLOW, (0, (2, 1.5))))  # colour and dashes
_TOP = (SKY, GREEN, PURPLE, YELLOW, GREY, LIGHT)


def roc(y: Bools, found: Performance, objective: ObjectiveSpec, compared: Sequence[Compared]) -> Picture:
    """Draw the ROC curve with the operating point and its joint 95 % region, whole and enlarged at the corner."""

    def paint(figure: Figure) -> None:
        whole, corner = svg.halves(figure)
        for axes in (whole, corner):
            _roc(axes, y, found, objective, compared)
        low = min(found.region[0].low, 1 - objective.fnr_ceiling) - 0.02
        right = max(1 - found.region[1].low, 1 - objective.specificity_floor) + 0.02
        whole.set_title("whole")
        corner.set(xlim=(-0.01, right), ylim=(low, 1.005), title="enlarged at the operating point")
        svg.legend(figure, *whole.get_legend_handles_labels())

    return svg.draw(
        paint,
        size=(WIDE[0], 5.0),
        phone_height=8.4,
        alt=f"ROC curve on validation, AUC {found.assessment.auc:.3f}, with the operating point",
    )


def scores(y: Bools, found: Performance, classes: tuple[str, str]) -> Picture:
    """Draw the distribution of scores of each class on its side, with the threshold."""

    def paint(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True)
        bins = np.linspace(0, 1, 41)
        for axes, label, color in ((top, 1, ORANGE), (bottom, 0, SKY)):
            axes.hist(found.scores[y == bool(label)], bins=bins, color=color)
            axes.axvline(found.threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            axes.set(title=svg.plain(classes[label]), ylabel="scores")
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        svg.mark(top, f"threshold {found.threshold:.3f}", found.threshold, top.get_ylim()[1] * 0.86, INK)
        bottom.set_xlabel("score")

    return svg.draw(paint, size=THIRD, alt="Distribution of scores by class, with the threshold")


def calibration(y: Bools, found: Performance) -> Picture:
    """Draw how often images of a score are ill, with 95 % intervals."""
    curve = curves.calibration(y, found.scores, found.groups)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 2)), label="perfect")
        around = np.abs(np.stack([curve.low, curve.high]) - curve.share_positive)
        axes.errorbar(
            curve.mean_score,
            curve.share_positive,
            yerr=around,
            fmt="o-",
            color=BLUE,
            markersize=4.5,
            linewidth=1.2,
            elinewidth=1,
            capsize=2,
            label="this trial, 95 % interval",
        )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="mean score of the group", ylabel="share that is ill")
        axes.legend(loc="lower right")

    return svg.draw(paint, size=THIRD, alt=f"Calibration curve over {len(curve.n)} groups of images")


def leanings(found: Sequence[Leaning], classes: tuple[str, str]) -> Picture:
    """Draw how the scores follow each fact within each class, with 95 % intervals."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        for label, (color, marker, shift) in enumerate(((SKY, "s", 0.14), (ORANGE, "o", -0.14))):
            known = [(place, one.within[label]) for place, one in enumerate(found) if label in one.within]
            for place, estimate in known:
                ends = [estimate.interval.low, estimate.interval.high]
                axes.plot(ends, [place + shift] * 2, color=color, linewidth=1.4)
            x, y = [estimate.value for _, estimate in known], [place + shift for place, _ in known]
            axes.plot(x, y, marker, color=color, markersize=6, label=f"within {svg.plain(classes[label], 30)}")
        axes.set_yticks(range(len(found)), [one.fact for one in found])
        axes.set(xlim=(-1, 1), ylim=(len(found) - 0.5, -0.5), xlabel="rank correlation of score and fact")
        svg.legend_of(figure, axes)

    alt = f"Rank correlation of scores with {', '.join(one.fact for one in found)} within each class"
    return svg.draw(paint, size=(NARROW[0], 2.6), alt=alt)


def decision(y: Bools, found: Performance) -> Picture:
    """Draw the net benefit against treating everyone and no one."""
    curve = curves.decision(y, found.scores)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(curve.probability, curve.act_on_all, color=ORANGE, linestyle=(0, (5, 2)), label="act on everyone")
        axes.axhline(0, color=GREY, linewidth=1.2, linestyle=(0, (1, 1.5)), label="act on no one")
        axes.plot(curve.probability, curve.model, color=BLUE, label="this trial")
        high = float(max(curve.model.max(), curve.act_on_all.max()))
        axes.set(xlim=(0, 1), ylim=(-0.25 * high, 1.08 * high))
        axes.set(xlabel="probability at which one acts", ylabel="net benefit per image")
        axes.legend(loc="lower left")

    return svg.draw(paint, size=THIRD, alt="Decision curve: net benefit of the trial, of acting on all and on none")


def training(results: Mapping[int, TrialResult], shown: int | None) -> Picture:
    """Draw loss and validation AUC of the top trials by epoch, their best epochs marked, or by fold."""

    def paint(figure: Figure) -> None:
        loss, area = svg.halves(figure)
        for index, (number, result) in enumerate(results.items()):
            color, width = (BLUE, 2.0) if number == shown else (_TOP[index % len(_TOP)], 1.1)
            _curve(loss, result, "val_loss", f"trial {number}", color, width)
            _curve(area, result, "auc", "", color, width)
            if number == shown:
                _curve(loss, result, "loss", f"trial {number}, training loss", color, 1.0, dashed=True)
        step = "fold" if any(result.n_folds is not None for result in results.values()) else "epoch"
        loss.set(xlabel=step, ylabel="validation loss", ylim=(0, _loss_top(results)))
        area.set(xlabel=step, ylabel="validation AUC")
        for axes in (loss, area):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        svg.legend(figure, *loss.get_legend_handles_labels())

    return svg.draw(paint, size=WIDE, phone_height=7.0, alt=f"Training curves of {len(results)} trials")


def _loss_top(results: Mapping[int, TrialResult]) -> float | None:
    """Return where the frame of the losses ends, so that one spike doesn't flatten all curves; None: nowhere."""
    found = [epoch.get("val_loss", float("nan")) for result in results.values() for epoch in result.history]
    finite = [value for value in found if np.isfinite(value)]
    return float(max(np.quantile(finite, 0.9) * 1.3, min(finite) * 2)) if finite and max(finite) > 0 else None


def _curve(
    axes: Axes, result: TrialResult, key: str, label: str, color: str, width: float, dashed: bool = False
) -> None:
    y = [epoch.get(key, float("nan")) for epoch in result.history]
    x = range(1, len(y) + 1)
    axes.plot(x, y, color=color, linewidth=width, label=label, linestyle=(0, (3, 2)) if dashed else "-")
    if 1 <= result.best_epoch <= len(y) and not dashed and result.n_folds is None:
        axes.plot([result.best_epoch], [y[result.best_epoch - 1]], "o", color=color, markersize=5)


def _roc(axes: Axes, y: Bools, found: Performance, objective: ObjectiveSpec, compared: Sequence[Compared]) -> None:
    learnt = [other for other in compared[1:] if other.scores.min() < other.scores.max()]
    for other, (color, dash) in zip(learnt, _OTHERS, strict=False):
        curve = curves.roc(y[: len(other.scores)], other.scores)  # baselines see images as they are, which come first
        axes.plot(curve.false_positive_rate, curve.recall, color=color, linewidth=1.1, linestyle=dash, label=other.name)
    axes.axhline(1 - objective.fnr_ceiling, color=GREEN, linewidth=1, linestyle=(0, (5, 2)), label="FNR ceiling")
    axes.axvline(
        1 - objective.specificity_floor, color=GREEN, linewidth=1, linestyle=(0, (1, 1.5)), label="specificity floor"
    )
    recall, specificity = found.region
    corner, size = (1 - specificity.high, recall.low), (specificity.high - specificity.low, recall.high - recall.low)
    axes.add_patch(Rectangle(corner, *size, color=BLUE, alpha=0.15, linewidth=0, label="95 % region of the point"))
    curve = curves.roc(y, found.scores)
    axes.plot(curve.false_positive_rate, curve.recall, color=BLUE, linewidth=2, label="this trial")
    point = found.estimates["specificity"].value, found.estimates["recall"].value
    axes.plot([1 - point[0]], [point[1]], "o", color=INK, markersize=6.5, label="operating point", zorder=6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="recall (sensitivity)")
