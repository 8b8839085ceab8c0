"""The page: everything in one file, nothing fetched, readable in print."""

from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from pneumo_core import files
from pneumo_core.errors import UserError
from pneumo_core.progress import Progress, silent
from search.home import Home
from search.prepared import Prepared
from search.report import sections_search, sections_study, sections_trial
from search.report import source as sources
from search.report.data import ReportData
from search.report.evidence import Options
from search.report.gallery import OverlaysFor
from search.report.gather import GIVE_DATA, gather
from search.report.markup import Html, Section, join, tag
from search.storage import artifacts

FILE = "report.html"
CSS = Path(__file__).with_name("report.css")
# A page without scripts that may load nothing: whatever a database smuggles in stays text.
GENERATOR = "pneumo-search"  # by which a later report knows that it may take the place of this one
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(data: ReportData) -> str:
    """Return the whole report as HTML."""
    under = [part for part in (data.definition.description, data.made_at.strftime("%d %B %Y, %H:%M")) if part]
    version = data.versions.get("pneumo-search", "")
    return document(
        f"{data.study}: report", join(under, " · "), sections(data), heading=f"Study {data.study}", version=version
    )


def document(title: str, under: str, parts: Sequence[Section], *, heading: str = "", version: str = "") -> str:
    """Return a page of `parts` with `under` below its heading, by default its title."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name_="generator", content=GENERATOR),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(_POLICY)),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(CSS.read_text("utf-8"))),
    ]
    top = tag("header", tag("h1", heading or title), tag("p", under))
    body = tag("main", top, _contents(parts), *(_section(part) for part in parts), _footer(version))
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', body), lang='en')}\n"


def sections(data: ReportData) -> list[Section]:
    """Return the parts of the page in order."""
    shown = f"Trial {data.shown.number} on {data.judged_on}" if data.shown else "Best trial"
    parts: list[tuple[str, str, Callable[[ReportData], Html]]] = [
        ("summary", "Summary", sections_study.summary),
        ("data", "Data", sections_search.data_flow),
        ("search", "Search", sections_search.history),
        ("trial", shown, sections_trial.performance),
        ("network", "Network", sections_trial.network),
        ("errors", "Errors as images", sections_trial.errors),
        ("baselines", "Trivial baselines", sections_trial.baselines),
        ("shortcuts", "Shortcuts", sections_trial.shortcuts),
        ("parameters", "What mattered", sections_search.what_mattered),
        ("losses", "Pruned and failed", sections_search.losses),
        ("cost", "Time and cost", sections_search.cost),
        ("definition", "Study", sections_study.definition),
        ("environment", "Environment", sections_study.environment),
        ("words", "What the words mean", sections_study.words),
    ]
    if data.bundle is not None:
        parts.insert(5, ("shifts", "The bundle on changed images", sections_study.under_shifts))
    return [Section(id=name, title=title, body=make(data)) for name, title, make in parts]


def _contents(parts: Sequence[Section]) -> Html:
    links = [tag("a", part.title, href=f"#{part.id}") for part in parts]
    return tag("nav", *links, aria_label="Contents")


def _section(part: Section) -> Html:
    return tag("section", tag("h2", part.title), part.body, id=part.id)


def _footer(version: str) -> Html:
    return tag(
        "footer",
        f"For research. Not a medical device, and not for decisions about patients. Made by pneumo-search {version}.",
    )


def make(
    study: optuna.Study,
    storage_url: str,
    home: Home,
    *,
    data: str | None = None,
    usual_data: str | None = None,
    overlays_for: OverlaysFor | None = None,
    progress: Progress = silent,
) -> ReportData:
    """Gather the report of `study`.

    `data` names its images and must be right: raises `DataError` or `StudyError` otherwise. `usual_data`, which the
    study's file names, is tried when `data` is None; if it doesn't serve, the report says why and goes without.
    """
    prepared, why = _prepared(study, home, data, usual_data, progress)
    store = artifacts.store(home.artifacts)
    options = Options(overlays_for=overlays_for, progress=progress)
    return gather(study, storage_url, store, prepared=prepared, no_data=why, options=options)


def write(data: ReportData, folder: Path) -> Path:
    """Write the page into `folder` and return the file.

    Raises `StorageError` where it can't be written, or something else than a report is there.
    """
    file = folder / FILE
    files.check_free(file, is_page)
    text = render(data)
    files.write_file(file, lambda path: path.write_text(text, "utf-8"))
    return file


def is_page(file: Path) -> bool:
    """Return whether `file` is an earlier report."""
    with file.open("rb") as stream:
        return GENERATOR.encode() in stream.read(1000)


def _prepared(
    study: optuna.Study, home: Home, data: str | None, usual_data: str | None, progress: Progress
) -> tuple[Prepared | None, str]:
    if data is not None:
        return sources.read(study, data, home, progress), ""
    if usual_data is None:
        return None, GIVE_DATA
    try:
        return sources.read(study, usual_data, home, progress), ""
    except UserError as error:
        return None, f"{GIVE_DATA} ({str(error).splitlines()[0].rstrip(':')})"
