"""Pictures of one trial: ROC with its operating point, confusion matrix, errors as images, training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pneumo_core.result import TrialResult
from pneumo_core.specs import ObjectiveSpec
from search.report import gallery, performance, plots_model, svg
from search.report.data import Performance, Validation
from search.report.svg import BLUE, INK, ORANGE, Picture

MIN_RESAMPLES = 2  # the bootstrap's intervals aren't drawn
ERRORS_PER_KIND = 6


def roc(validation: Validation, result: TrialResult, objective: ObjectiveSpec) -> Picture:
    """Draw the ROC curve on validation with the operating point and its joint 95 % region."""
    found = _performance(validation, result, objective)
    return plots_model.roc(found.y, found, objective, ())


def confusion(
    validation: Validation, result: TrialResult, objective: ObjectiveSpec, classes: tuple[str, str]
) -> Picture:
    """Draw the counts of calls at the threshold; `classes` are the names of the negative and the positive."""
    found = _performance(validation, result, objective)
    c, (negative, positive) = found.assessment.confusion, classes
    counts = np.array([[c.true_positive, c.false_negative], [c.false_positive, c.true_negative]])
    words = (("found", "missed"), ("false alarm", "cleared"))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(False)
        axes.imshow([[0.30, -0.30], [-0.15, 0.15]], cmap="RdBu", vmin=-1, vmax=1)
        for (row, column), n in np.ndenumerate(counts):
            axes.text(column, row - 0.06, str(n), ha="center", va="center", fontsize=18, color=INK)
            axes.text(column, row + 0.24, words[row][column], ha="center", va="center", color=INK)
        axes.set_xticks([0, 1], [f"called {svg.plain(positive)}", f"called {svg.plain(negative)}"])
        axes.set_yticks([0, 1], [f"is {svg.plain(positive)}", f"is {svg.plain(negative)}"])
        axes.set_title(_rates(found))

    return svg.draw(paint, alt=f"Confusion matrix on validation: {counts.tolist()}")


def errors(validation: Validation, result: TrialResult, folder: Path) -> Picture:
    """Draw the misses and false alarms with the most extreme scores as radiographs; `folder` has the files."""
    scores, threshold = np.asarray(result.scores), result.metrics.threshold
    kinds = (
        ("missed", gallery.missed_rows(validation, scores, threshold), ORANGE),
        ("false alarms", gallery.false_alarm_rows(validation, scores, threshold), BLUE),
    )

    def paint(figure: Figure) -> None:
        grid = figure.add_gridspec(len(kinds), 1)
        for position, (word, rows, color) in enumerate(kinds):
            part = figure.add_subfigure(grid[position])
            part.suptitle(f"{len(rows)} {word}", x=0.01, ha="left", color=color, fontsize=10, fontweight="bold")
            cells = part.subplots(1, ERRORS_PER_KIND)
            for axes in cells:
                axes.axis("off")
            for axes, row in zip(cells, rows, strict=False):
                axes.imshow(np.squeeze(gallery.radiograph(validation, row, folder)), cmap="gray", vmin=0, vmax=255)
                axes.set_title(f"{scores[row]:.3f}", fontsize=8, fontweight="normal", loc="center")

    n = [len(rows) for _, rows, _ in kinds]
    return svg.draw(paint, size=(8.4, 4.0), alt=f"{n[0]} missed images, {n[1]} false alarms")


def training(number: int, result: TrialResult) -> Picture:
    """Draw loss and validation AUC by epoch, the kept epoch marked."""
    return plots_model.training({number: result}, number)


def apology(lines: Sequence[str]) -> Picture:
    """Draw a text in the place of a picture that is not available."""

    def paint(figure: Figure) -> None:
        figure.text(0.04, 0.5, "\n".join(lines), va="center", color=INK)

    return svg.draw(paint, size=(6.4, 1.6), alt=" ".join(lines))


def _performance(validation: Validation, result: TrialResult, objective: ObjectiveSpec) -> Performance:
    return performance.measure(
        *performance.judged(validation, result), result.metrics.threshold, objective, MIN_RESAMPLES
    )


def _rates(found: Performance) -> str:
    shown = (("recall", "recall"), ("specificity", "specificity"))
    rates = [f"{label} {100 * found.estimates[key].value:.1f} %" for key, label in shown if key in found.estimates]
    return ", ".join([*rates, f"threshold {found.threshold:.3f}"])


def file(picture: Picture) -> bytes:
    """Return a picture as an SVG file of its own, on white."""
    end = picture.svg.index(">") + 1
    return f'{picture.svg[:end]}<rect width="100%" height="100%" fill="white"/>{picture.svg[end:]}'.encode()
