"""Matplotlib figures as SVG that lives inside an HTML page: text stays text, ids don't clash, nothing is fetched."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.report.markup import Html, clean

# Okabe & Ito (2008): told apart with any colour vision. Markers differ as well, for print in grey.
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#56B4E9", "#E69F00"
INK, GREY, LIGHT, PALE = "#1f2933", "#7b8794", "#cbd2d9", "#eef2f6"
THIRD, NARROW, WIDE = (3.3, 3.1), (4.9, 3.7), (10.2, 3.9)  # inches; a third, a half and the whole of the page

Paint = Callable[[Figure], None]


class Drawing(Figure):
    """A figure that shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=80)
        return buffer.getvalue()


class Picture(Html):
    """A figure as an element of a page, and the figure itself."""

    figure: Drawing


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
    "grid.color": "#e4e9ee",
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


def draw(paint: Paint, *, name: str, alt: str, size: tuple[float, float] = NARROW) -> Picture:
    """Return what `paint` puts on an empty figure of `size` inches. `name` must be unique on the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has other fonts
        figure = Drawing(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    picture = Picture(_inline(buffer.getvalue(), name, alt))
    picture.figure = figure
    return picture


def plain(text: str, longest: int = 40) -> str:
    """Return `text` for a label: one short line, without what Matplotlib would read as mathematics."""
    line = " ".join(clean(text).split())
    short = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return short.replace("$", r"\$")


def mark(axes: Axes, text: str, x: float, y: float, color: str = GREY, **options: str) -> None:
    """Write a small label beside a line or point, in the data's coordinates."""
    axes.annotate(text, (x, y), xytext=(4, 3), textcoords="offset points", color=color, fontsize=8, **options)  # type: ignore[arg-type]


def _inline(text: str, name: str, alt: str) -> Html:
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _own(_local(key), value, name) for key, value in element.attrib.items()}
    width = float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3
    del root.attrib["height"]
    root.attrib |= {"role": "img", "aria-label": clean(alt), "style": f"max-width:{width:.0f}px"}
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _own(key: str, value: str, name: str) -> str:
    """Return an attribute with ids made this figure's own and fonts left to the page."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    if key == "style":
        own_font = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;]*", _font, re.sub(r"font-family: [^;]*;?", "", value))
        return own_font.replace("url(#", f"url(#{name}-")
    return value.replace("url(#", f"url(#{name}-")


def _font(found: re.Match[str]) -> str:
    """Return the shorthand `font` of older Matplotlib as size and weight."""
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"
