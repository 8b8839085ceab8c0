"""HTML from functions, and numbers as readers want them.

A plain `str` is text and escaped wherever it is put; only `Html` stays as it is. Names, parameters and messages
come from a database that others may have written, so the safe way is the short one.
"""

import base64
import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pneumo_core.text import escaped
from search.report.data import Estimate, State

SPACE = "\u00a0"  # doesn't break

STATE_WORDS: dict[State, str] = {
    "feasible": "meets the ceiling",
    "infeasible": "misses the ceiling",
    "pruned": "pruned",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
}

_VOID = {"img", "link", "meta", "source"}
_MAX_TEXT = 2000  # characters of one text from the database


class Html(str):
    """Markup that needs no escaping any more."""


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """Return an element; `class_` gives `class`, `data_x` gives `data-x`, an attribute that is None is left out."""
    inside = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Html(f"<{name}{inside}>")
    return Html(f"<{name}{inside}>{join(children)}</{name}>")


def _attribute(key: str, value: str) -> str:
    """Return ` key="value"`; a value that is `Html` is left as it is."""
    return f' {key.rstrip("_").replace("_", "-")}="{value if isinstance(value, Html) else escape(value)}"'


def join(children: Iterable[str], separator: str = "") -> Html:
    """Return the children one after another, texts escaped."""
    return Html(escape(separator).join(child if isinstance(child, Html) else escape(child) for child in children))


def escape(text: str) -> Html:
    """Return `text` as harmless markup, without control characters and shortened where it is very long."""
    return Html(html.escape(clean(text), quote=True))


def clean(text: str) -> str:
    """Return `text` with escapes for what hides or reorders other text; line breaks are kept."""
    shown = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} … ({len(text)} characters)"
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else escaped(c) for c in shown)


def image(data: bytes, alt: str, kind: str = "png", class_: str | None = None) -> Html:
    """Return a picture that carries its bytes; `kind` is png or jpeg."""
    return tag("img", src=Html(f"data:image/{kind};base64,{base64.b64encode(data).decode()}"), alt=alt, class_=class_)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], class_: str | None = None, label: str = "Table") -> Html:
    """Return a table; the first cell of a row is its heading. Keys scroll one that is too wide; `label` names it."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    inner = tag("table", tag("thead", top) if head else Html(), tag("tbody", *body), class_=class_)
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a list of names with their values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_="facts")


def paragraph(*children: str, class_: str | None = None) -> Html:
    return tag("p", *children, class_=class_)


def note(*children: str) -> Html:
    """Return a remark in a lighter tone than the text."""
    return paragraph(*children, class_="note")


def missing(why: str) -> Html:
    """Return what takes the place of a part that can't be shown."""
    return paragraph(why, class_="missing")


def figure(picture: str, caption: str = "") -> Html:
    return tag("figure", picture, tag("figcaption", caption) if caption else Html())


def details(summary: str, *children: str) -> Html:
    return tag("details", tag("summary", summary), *children)


@dataclass(frozen=True, kw_only=True)
class Section:
    """`id` is its anchor in the table of contents."""

    id: str
    title: str
    body: Html


def percent(value: float, decimals: int = 1, beside: float | None = None) -> str:
    """Return a share in percent; with more decimals where the limit `beside` would read the same without being it."""
    text = f"{100 * value:.{decimals}f}{SPACE}%"
    if beside is None or decimals > 4 or math.isclose(value, beside, abs_tol=1e-9) or text != percent(beside, decimals):
        return text
    return percent(value, decimals + 1, beside)


def limit(value: float) -> str:
    """Return a limit that somebody set, in percent: one decimal, or as many as it was set with."""
    rounded = f"{100 * value:.1f}"
    return f"{rounded if math.isclose(float(rounded), 100 * value) else f'{100 * value:.6g}'}{SPACE}%"


def percent_range(estimate: Estimate) -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return f"{100 * low:.1f}–{100 * high:.1f}{SPACE}%"


def share(estimate: Estimate | None, beside: float | None = None) -> Html:
    """Return a proportion with its 95 % interval and its counts; `beside` a limit as in `percent`."""
    if estimate is None:
        return Html("–")
    counts = f" · {estimate.hits} of {estimate.n}" if estimate.n is not None else ""
    return join(
        [percent(estimate.value, beside=beside), " ", tag("span", f"({percent_range(estimate)}){counts}", class_="ci")]
    )


def area(estimate: Estimate) -> Html:
    """Return an AUC with its 95 % interval."""
    low, high = estimate.interval.low, estimate.interval.high
    return join([f"{estimate.value:.3f} ", tag("span", f"({low:.3f}–{high:.3f})", class_="ci")])


def margin(estimate: Estimate, decimals: int = 3) -> Html:
    """Return a difference with its sign and its 95 % interval."""
    low, high = estimate.interval.low, estimate.interval.high
    text = f"{estimate.value:+.{decimals}f} "
    return join([text, tag("span", f"({low:+.{decimals}f} to {high:+.{decimals}f})", class_="ci")])


def count(n: int) -> str:
    return f"{n:,}".replace(",", "\u202f")


def plural(n: int, one: str, many: str | None = None) -> str:
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    parts = [(whole.days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    first = next((index for index, (n, _) in enumerate(parts) if n), 3)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2] if n) or "0 s"


def scalar(value: object) -> str:
    """Return a parameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit that suits a span of `seconds`."""
    return next(
        ((size, name) for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds > 2 * size),
        (1, "seconds"),
    )
