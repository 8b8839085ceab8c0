"""`pneumo report`: one study as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.cli.options import (
    DONE,
    NOT_FEASIBLE,
    HomeOption,
    NameOption,
    StorageOption,
    StudyArgument,
    existing_storage,
    study_name,
)


def report(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for `report.html`.")],
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="The study's images; by default what its file names.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Show where this bundle looks in the images that are wrong.")
    ] = None,
    storage: StorageOption = None,
    name: NameOption = None,
    home: HomeOption = Path("runs"),
) -> None:
    """Write a study as one HTML page: pictures, errors as images, baselines; offline and in print.

    The page needs no network. A study that is still running is shown as it stands. Calibration and test images are
    counted and never looked at.
    """
    from search import printing
    from search.home import Home
    from search.report.gallery import from_bundle
    from search.report.page import make, write
    from search.storage.database import open_storage
    from search.study import load_study
    from search.watching.make import view_maker

    console = Console(stderr=True)
    place = Home(home)
    url = existing_storage(storage, home)
    stored = load_study(name or study_name(study), open_storage(url, create=False))
    with view_maker(console) as (_, progress):
        found = make(
            stored,
            url,
            place,
            data=data,
            usual_data=usual_source(study),
            overlays_for=from_bundle(bundle, progress) if bundle else None,
            progress=progress,
        )
    printing.line(write(found, out))
    raise typer.Exit(DONE if found.best else NOT_FEASIBLE)


def usual_source(study: str) -> str | None:
    """Return the images that the study's file names; None when there is no such file here, or it names none."""
    from studies import load

    known = study.endswith(".py") or study in load.names()
    return load.read(study).data.source if known else None
