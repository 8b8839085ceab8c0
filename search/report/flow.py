"""The picture of the data: from the files that were found to the roles."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from search.report import svg
from search.report.data import DataFlow, RoleCount
from search.report.markup import Html
from search.report.numbers import count, plural
from search.report.svg import BLUE, GREY, INK, LIGHT, PALE, WIDE

_USES = {
    "train": "fits the models",
    "validation": "stops, prunes, ranks: everything in this report",
    "calibration": "sets the final threshold; not opened here",
    "test": "opened once at the very end; not opened here",
    "excluded": "shares a patient or a look with the test role",
}
_USES_OVER_FOLDS = dict.fromkeys(("train", "validation"), "by fold: fits, stops, prunes, ranks")
_STEP = 1.25


def draw(data: DataFlow, by_fold: bool = False) -> Html:
    """Draw images and patients of the source and of every role, and what it is for."""
    boxes, uses = [*data.roles], _USES | (_USES_OVER_FOLDS if by_fold else {})
    height = _STEP * max(len(boxes), 2)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set(xlim=(0, 10), ylim=(0, height))
        middle = height / 2
        rejected = f"\n{plural(len(data.rejected), 'file')} unusable" if data.rejected else ""
        text = f"{plural(data.n_images, 'image')}\n{plural(data.n_patients, 'patient group')}{rejected}"
        _box(axes, 0.05, middle - 0.62, 2.3, 1.24, "Source", text, INK)
        for index, role in enumerate(boxes):
            y = height - _STEP * (index + 0.5)
            axes.annotate(
                "",
                xy=(3.35, y),
                xytext=(2.42, middle),
                arrowprops={"arrowstyle": "-|>", "color": LIGHT, "linewidth": 1.4, "connectionstyle": "arc3,rad=0"},
            )
            color = BLUE if role.role in ("train", "validation") else GREY
            _box(axes, 3.4, y - 0.5, 6.5, 1.0, role.role, _counts(role, data), color, uses.get(role.role, ""))

    return svg.draw(paint, name="flow", size=(WIDE[0], 0.62 * height + 0.1), alt=_alt(data))


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, title: str, text: str, color: str, use: str = ""
) -> None:
    shape = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=PALE, edgecolor=color, linewidth=1.3
    )
    axes.add_patch(shape)
    axes.text(x + 0.15, y + height - 0.14, title, fontweight="bold", va="top", fontsize=9.5)
    axes.text(x + 0.15, y + height - 0.48, text, va="top", fontsize=8.5, linespacing=1.35)
    axes.text(x + width - 0.15, y + height - 0.16, use, va="top", ha="right", fontsize=8, color=GREY)


def _counts(role: RoleCount, data: DataFlow) -> str:
    positive, negative = svg.plain(data.positive, 24), svg.plain(data.negative, 24)
    of_class = f"{count(role.n_positive)} {positive} · {count(role.n_negative)} {negative}"
    return f"{plural(role.n_images, 'image')} of {plural(role.n_patients, 'patient group')}: {of_class}"


def _alt(data: DataFlow) -> str:
    roles = "; ".join(f"{role.role} {role.n_images} images of {role.n_patients} patient groups" for role in data.roles)
    return f"Data flow: {data.n_images} images of {data.n_patients} patient groups, divided into {roles}"
