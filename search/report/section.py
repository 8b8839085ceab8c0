"""A part of the page."""

from dataclasses import dataclass

from search.report.markup import Html


@dataclass(frozen=True, kw_only=True)
class Section:
    """`id` is its anchor in the table of contents."""

    id: str
    title: str
    body: Html
