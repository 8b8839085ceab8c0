"""Matplotlib figures as pictures that a page carries, and how trials look in all of them.

Text stays text, colours follow the reader's light or dark.
"""

import base64
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.report.data import State, TrialRow
from search.report.markup import STATE_WORDS, Html, clean, tag

# Okabe & Ito (2008): distinguishable with any colour vision. Markers differ as well, for print in grey.
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#56b4e9", "#e69f00"
INK, GREY, LIGHT, GRID, PAPER = "#1f2933", "#7b8794", "#cbd2d9", "#e4e9ee", "#ffffff"
DARK: Mapping[str, str] = {  # what a colour becomes on a dark page; the others serve on both
    INK: "#e6e9ed",
    GREY: "#98a4b1",
    LIGHT: "#4a5663",
    GRID: "#2a333d",
    PAPER: "#14191f",
    BLUE: "#4ea6de",
    ORANGE: "#f08a45",
    GREEN: "#2fbf96",
    PURPLE: "#d27fc3",
}
THIRD, NARROW, WIDE, PHONE = (3.3, 3.1), (4.9, 3.7), (10.2, 3.9), 4.1  # inches; PHONE is a width
PHONE_PX = 640  # of a screen: up to here pictures are drawn anew for it
FONTS = "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

Paint = Callable[[Figure], None]

JUDGED: tuple[State, ...] = ("pruned", "infeasible", "feasible")  # in the order they are drawn
LINES: Mapping[State, str] = {"feasible": BLUE, "infeasible": ORANGE, "pruned": GREY}
BARS: Mapping[State, str] = {"feasible": BLUE, "infeasible": ORANGE, "pruned": LIGHT, "failed": INK}
_POINTS: Mapping[State, Mapping[str, Any]] = {
    "feasible": {"marker": "o", "s": 34, "color": BLUE, "linewidth": 0},
    "infeasible": {"marker": "^", "s": 34, "facecolors": "none", "edgecolors": ORANGE, "linewidth": 1.2},
    "pruned": {"marker": "x", "s": 20, "color": GREY, "linewidth": 1.0, "alpha": 0.8},
}

Read = Callable[[TrialRow], float | None]


class Drawing(Figure):
    """A figure that shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=80)
        return buffer.getvalue()


class Picture(Html):
    """A figure as an element of a page, as SVG in the colours of paper, and the figure itself."""

    figure: Drawing
    svg: str


_STYLE: Any = {  # its keys are literals to a type checker
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": ["DejaVu Sans"],  # comes with Matplotlib and is wide: the page's own font never needs more room
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LIGHT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.6,
}


def draw(paint: Paint, *, alt: str, size: tuple[float, float] = NARROW, phone_height: float | None = None) -> Picture:
    """Return what `paint` puts on an empty figure of `size` inches, and on one of `PHONE` × `phone_height` for phones.

    Without `phone_height` a wide picture keeps its size on a phone, where the page scrolls it.
    """
    figure, svg = _render(paint, size)
    image = tag("img", src=_uri(svg), alt=clean(alt), style=f"width:{96 * size[0]:.0f}px")
    if phone_height is not None:
        small = _uri(_render(paint, (PHONE, phone_height))[1])
        image = tag("picture", tag("source", media=f"(max-width: {PHONE_PX}px)", srcset=small), image)
    elif size[0] > NARROW[0]:
        image = tag("div", image, class_="scroll wide", tabindex="0", role="region", aria_label=clean(alt))
    picture = Picture(image)
    picture.figure, picture.svg = figure, svg
    return picture


def halves(figure: Figure) -> tuple[Axes, Axes]:
    """Return two axes: beside each other on a wide figure, one above the other on a tall one."""
    width, height = figure.get_size_inches()
    first, second = figure.subplots(1, 2) if width > height else figure.subplots(2, 1)
    return first, second


def legend(figure: Figure, handles: Any, labels: list[str]) -> None:
    """Put a legend above the axes of `figure`, in as many columns as find room."""
    if handles:
        widest_in = 0.55 + 0.075 * max(map(len, labels))  # of 8.5 points
        n = max(1, min(len(labels), int(figure.get_size_inches()[0] / widest_in)))
        figure.legend(handles, labels, loc="outside upper left", ncols=n, borderaxespad=0.2)


def plain(text: str, longest: int = 60) -> str:
    """Return `text` for a label: one short line, without what Matplotlib would read as mathematics."""
    line = " ".join(clean(text).split())
    short = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return short.replace("$", r"\$")


def mark(axes: Axes, text: str, x: float, y: float, color: str = GREY, **options: str) -> None:
    """Write a small label beside a line or point, in the data's coordinates."""
    axes.annotate(text, (x, y), xytext=(4, 3), textcoords="offset points", color=color, fontsize=8, **options)  # type: ignore[arg-type]


def _render(paint: Paint, size: tuple[float, float]) -> tuple[Drawing, str]:
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has other fonts
        figure = Drawing(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    whole = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg ") :], flags=re.DOTALL)
    return figure, whole.replace("'DejaVu Sans'", FONTS)


def _uri(svg: str) -> Html:
    """Return `svg` as an address, in colours that follow the page's."""
    for light in DARK:
        svg = svg.replace(f": {light}", f": var({_variable(light)}, {light})")
    rules = ";".join(f"{_variable(light)}:{dark}" for light, dark in DARK.items())
    style = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ {rules} }} }}</style>"
    themed = re.sub(r"(<svg [^>]*>)", lambda found: found[1] + style, svg, count=1)
    return Html(f"data:image/svg+xml;base64,{base64.b64encode(themed.encode()).decode()}")


def _variable(color: str) -> str:
    return f"--c{color[1:]}"


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


def legend_of(figure: Figure, axes: Axes) -> None:
    """Put the legend of `axes` above the figure."""
    legend(figure, *axes.get_legend_handles_labels())


def recall(row: TrialRow) -> float | None:
    return row.metrics.recall if row.metrics else None


def specificity(row: TrialRow) -> float | None:
    return row.metrics.specificity if row.metrics else None


def pauc(row: TrialRow) -> float | None:
    return row.metrics.pauc if row.metrics else None
