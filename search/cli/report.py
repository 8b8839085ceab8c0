"""`pneumo report`: one study as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.cli.options import DONE, NOT_FEASIBLE, StudyAndImages, grouped


@grouped
def report(
    stored: StudyAndImages,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for `report.html`.")],
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Show where this bundle looks in wrongly called images.")
    ] = None,
) -> None:
    """Write a study as one HTML page, with pictures, errors as images and baselines, for screen and print.

    The page needs no network. A study that is still running is shown as it is now. Calibration and test images are
    counted, never opened.
    """
    from search import printing
    from search.report.gallery import from_bundle
    from search.report.page import make, write
    from search.watching.make import view_maker

    console = Console(stderr=True)
    with view_maker(console) as (_, progress):
        found = make(
            stored.load(),
            stored.url,
            stored.place,
            data=stored.data,
            usual_data=stored.usual_source,
            overlays_for=from_bundle(bundle, progress) if bundle else None,
            progress=progress,
        )
    printing.line(write(found, out))
    raise typer.Exit(DONE if found.best else NOT_FEASIBLE)
