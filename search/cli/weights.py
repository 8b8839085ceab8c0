"""`pneumo weights`: the local folder of pretrained weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search import printing
from search.cli.options import Group, JsonOption

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Pretrained weights in a local folder, for machines without network ($PNEUMO_WEIGHTS).",
)
FolderOption = Annotated[
    Path | None, typer.Option("--folder", envvar="PNEUMO_WEIGHTS", metavar="DIR", help="The folder of weights.")
]
WORDS = {
    "folder": "in the folder",
    "package": "in its package",
    "keras": "in Keras's cache",
    "missing": "to be downloaded",
}


@app.command("list")
def list_weights(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """List every backbone with where its ImageNet weights are, and their digest."""
    from pneumo_core.models import weights_folder

    found = weights_folder.listed(folder.expanduser() if folder else None)
    if as_json:
        printing.result([asdict(weights) for weights in found])
        return
    table = printing.table(("backbone", "ImageNet weights", "SHA-256"))
    for weights in found:
        where = WORDS[weights.place] + (f" ({weights.problem})" if weights.problem else "")
        printing.add(table, weights.backbone, where, weights.sha256[:16])
    printing.show(Console(), table)
    missing = [weights.backbone for weights in found if weights.place == "missing"]
    if missing:
        printing.line(f"`pneumo weights fetch {missing[0]} --folder DIR` downloads; `import` brings in a file.")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones, as `list` names them.")],
    folder: FolderOption = None,
) -> None:
    """Download published weights into the folder. Resumes a broken download and checks digests."""
    from pneumo_core import catalog
    from pneumo_core.models import weights_folder
    from search.watching.make import view_maker

    place = weights_folder.folder_named(folder)
    for name in names:
        catalog.find(name)  # a typing error fails before a long download
    with view_maker(Console(stderr=True)) as (_, progress):
        for name in names:
            printing.line(weights_folder.fetch(name, place, progress))


@app.command("import")
def import_weights(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Weights without the classifier: .h5, or a Lite's .pth.")
    ],
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Backbone. Default: by file name.")] = None,
    unverified: Annotated[bool, typer.Option(help="Accept weights with another digest, such as your own.")] = False,
    folder: FolderOption = None,
) -> None:
    """Copy a file of weights into the folder under the name that Keras expects, once it is checked."""
    from pneumo_core.models import weights_folder

    place = weights_folder.folder_named(folder)
    printing.line(weights_folder.bring_in(file, place, name=name, unverified=unverified))
