"""The commands that take a bundle to other images: certify, drift."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.bundle import BundleArgument, print_answer
from search.cli.options import HOME, HomeOption, JsonOption, grouped
from search.cli.reading import ReadingOptions


@grouped
def certify(
    bundle: BundleArgument,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Your labelled images: folder or .npz.")],
    *,
    reading: ReadingOptions,
    out: Annotated[Path, typer.Option(metavar="BUNDLE2", help="Folder to make. It must not exist.")],
    ceiling: Annotated[float | None, typer.Option(help="FNR to certify. Default: the bundle's.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the certificate. Default: the bundle's.")] = None,
    leave_out_known: Annotated[
        bool, typer.Option(help="Exclude images with which the bundle was made, and other images of their patients.")
    ] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Set a bundle's threshold anew on your own labelled images, with a certificate for patients like yours.

    The networks stay as they are. The new bundle shows the old and the new threshold, the new one judged on halves of
    your patients that didn't set it. `predict`, `evaluate` and `export` use it. Images that the bundle was made from
    are refused. Without --negative and --positive, class folders are those of the bundle.
    """
    from pneumo_core.bundles.bundle_process import Certify
    from pneumo_core.data.source_spec import SourceSpec
    from search.cli.show_certified import show_certification

    request = Certify(
        bundle=str(bundle),
        source=reading.over(SourceSpec(source=folder)),
        cache=str(home / "cache"),
        out=str(out),
        ceiling=ceiling,
        confidence=confidence,
        leave_out_known=leave_out_known,
    )
    print_answer(request, show_certification, as_json)


def drift(
    bundle: BundleArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="At least 30 images. They need no labels.")],
    as_json: JsonOption = False,
) -> None:
    """Compare images with those that a bundle was certified on: does its certificate hold for them?

    Needs no labels. A classifier tries to separate the two sets. An AUC of 0.5 means that it can't.
    """
    from pneumo_core.bundles.bundle_process import MeasureDrift
    from search.cli.show_certified import show_drift

    print_answer(MeasureDrift(bundle=str(bundle), folder=str(folder)), show_drift, as_json)
