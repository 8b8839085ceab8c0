"""The page: everything in one file, nothing fetched, readable in print."""

from search.report import sections_search, sections_study, sections_trial
from search.report.data import ReportData
from search.report.markup import Html, join, tag
from search.report.section import Section
from search.report.stylesheet import CSS
from search.report.summary import summary

# A page without scripts that may load nothing: whatever a database smuggles in stays text.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(data: ReportData) -> str:
    """Return the whole report as HTML."""
    parts = sections(data)
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(_POLICY)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{data.study}: report"),
        tag("style", Html(CSS)),
    ]
    body = tag("main", _header(data), _contents(parts), *(_section(part) for part in parts), _footer(data))
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', body), lang='en')}\n"


def sections(data: ReportData) -> list[Section]:
    """Return the parts of the page in order."""
    shown = f"Trial {data.shown.number} on {data.judged_on}" if data.shown else "Best trial"
    parts = [
        ("summary", "Summary", summary),
        ("data", "Data", sections_search.data_flow),
        ("search", "Search", sections_search.history),
        ("trial", shown, sections_trial.performance),
        ("errors", "Errors as images", sections_trial.errors),
        ("baselines", "Trivial baselines", sections_trial.baselines),
        ("parameters", "What mattered", sections_search.what_mattered),
        ("losses", "Pruned and failed", sections_search.losses),
        ("cost", "Time and cost", sections_search.cost),
        ("definition", "Study", sections_study.definition),
        ("environment", "Environment", sections_study.environment),
        ("words", "What the words mean", sections_study.words),
    ]
    return [Section(id=name, title=title, body=make(data)) for name, title, make in parts]


def _header(data: ReportData) -> Html:
    under = [part for part in (data.definition.description, data.made_at.strftime("%d %B %Y, %H:%M")) if part]
    return tag("header", tag("h1", f"Study {data.study}"), tag("p", join(under, " · ")))


def _contents(parts: list[Section]) -> Html:
    links = [tag("a", part.title, href=f"#{part.id}") for part in parts]
    return tag("nav", *links, aria_label="Contents")


def _section(part: Section) -> Html:
    return tag("section", tag("h2", part.title), part.body, id=part.id)


def _footer(data: ReportData) -> Html:
    return tag(
        "footer",
        "For research. Not a medical device, and not for decisions about patients. "
        f"Made by pneumo-search {data.versions.get('pneumo-search', '')}.",
    )
