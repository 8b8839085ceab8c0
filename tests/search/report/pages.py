"""What a test wants to know of a page."""

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"img", "link", "meta", "source"}


@dataclass
class Page(HTMLParser):
    """A parsed page; raises `AssertionError` where its elements aren't nested."""

    tags: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)  # what a browser could fetch or jump to
    handlers: list[str] = field(default_factory=list)  # attributes that run code
    missing_alt: int = 0
    unreachable: int = 0  # scrolled parts that keys cannot scroll
    alts: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.references += [
            value or "" for key, value in attrs if key in ("src", "srcset", "href", "xlink:href", "action", "data")
        ]
        self.handlers += [key for key, _ in attrs if key.startswith("on")]
        self.unreachable += found.get("class", "").startswith("scroll") and found.get("tabindex") != "0"  # type: ignore[union-attr]
        self.alts += [found.get("alt") or ""] if tag == "img" else []
        self.missing_alt += tag == "img" and not found.get("alt")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page._open, f"left open: {page._open}"
    return page
