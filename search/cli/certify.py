"""The commands that take a bundle to other images: certify, drift."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search import printing
from search.cli.bundle import BundleArgument
from search.cli.options import HOME, HomeOption, JsonOption, grouped
from search.cli.reading import ReadingOptions


@grouped
def certify(
    bundle: BundleArgument,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Your labelled images: folder or .npz.")],
    *,
    reading: ReadingOptions,
    out: Annotated[Path, typer.Option(metavar="BUNDLE2", help="Folder to make; never overwritten.")],
    ceiling: Annotated[float | None, typer.Option(help="FNR to certify; default: the bundle's.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the certificate; default: the bundle's.")] = None,
    leave_out_known: Annotated[
        bool, typer.Option(help="Leave images out that the bundle was made from, with their patients.")
    ] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Set a bundle's threshold anew on your own labelled images, with a certificate for patients like yours.

    The networks stay as they are. The new bundle shows old and new threshold side by side, the new one judged on halves
    of your patients that didn't set it; `predict`, `evaluate` and `export` follow it. Images that the bundle was made
    from are refused. Without --negative and --positive, class folders are those of the bundle.
    """
    from pneumo_core.bundles.bundle_process import Certify
    from pneumo_core.data.source_spec import SourceSpec
    from search.bundle_client import ask
    from search.cli.show_certified import show_certification
    from search.watching.make import view_maker

    request = Certify(
        bundle=str(bundle),
        source=reading.over(SourceSpec(source=folder)),
        cache=str(home / "cache"),
        out=str(out),
        ceiling=ceiling,
        confidence=confidence,
        leave_out_known=leave_out_known,
    )
    with view_maker(Console(stderr=as_json)) as (_, progress):
        answer = ask(request, progress)
    if as_json:
        printing.result(answer)
    else:
        show_certification(Console(), answer)


def drift(
    bundle: BundleArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images, no labels needed; 30 or more.")],
    as_json: JsonOption = False,
) -> None:
    """Compare images with those that a bundle was certified on: does its certificate still speak about them?

    Needs no labels. A classifier tries to tell the two sets apart: AUC 0.5 where nothing gives them away.
    """
    from pneumo_core.bundles.bundle_process import MeasureDrift
    from search.bundle_client import ask
    from search.cli.show_certified import show_drift
    from search.watching.make import view_maker

    with view_maker(Console(stderr=as_json)) as (_, progress):
        answer = ask(MeasureDrift(bundle=str(bundle), folder=str(folder)), progress)
    if as_json:
        printing.result(answer)
    else:
        show_drift(Console(), answer)
