"""`pneumo export`: a bundle's networks for other programs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pneumo_core.bundles.formats import Format
from search.cli.bundle import BundleArgument
from search.cli.options import JsonOption


def export(
    bundle: BundleArgument,
    target: Annotated[Format, typer.Option("--format", help="What to write.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="File (SavedModel: folder) to make. It must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Write a bundle's networks as ONNX, TFLite or SavedModel, with threshold and preprocessing inside.

    The export is run in its own runtime and must give the bundle's scores on generated images, or nothing is written.
    """
    from pneumo_core.bundles.bundle_process import ExportTo
    from search import printing
    from search.bundle_client import ask

    answer = ask(ExportTo(bundle=str(bundle), format=target, path=str(out)))
    if as_json:
        printing.result(answer)
        return
    printing.say(
        Console(),
        f"{answer['path']}: {answer['format']}, {answer['n_bytes']} bytes; scores agree with the bundle's to "
        f"{answer['largest_difference']:.1g}",
    )
