"""`pneumo data ...`: a source of images, fetched, looked at and prepared, and what is kept of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from pneumo_core.errors import DataError
from search import printing
from search.cli.options import (
    DONE,
    HOME,
    WRONG_USE,
    Group,
    HomeOption,
    JsonOption,
    ProtocolOption,
    SourceArgument,
    grouped,
)
from search.cli.reading import ReadingOptions

if TYPE_CHECKING:
    from pneumo_core.data.manifest import Manifest
    from pneumo_core.data.split import Split
    from pneumo_core.specs import SplitSpec

app = typer.Typer(cls=Group, no_args_is_help=True, help="Fetch, audit and prepare a source of images.")


@app.command()
def fetch(
    name: Annotated[Literal["kaggle", "medmnist"], typer.Argument(help="The original images, or PneumoniaMNIST.")],
    size: Annotated[int, typer.Option(help="medmnist: side of the images in pixels: 28, 64, 128 or 224.")] = 28,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to put it in.")] = Path("data"),
) -> None:
    """Download a public data set and check it. The same command resumes a broken download.

    `kaggle` is "Chest X-Ray Images (Pneumonia)" (Kermany et al. 2018, CC BY 4.0, 5 856 JPEGs), `medmnist` the same
    images cropped and shrunk (Yang et al. 2023, CC BY 4.0).
    """
    from pneumo_core.data import kaggle
    from pneumo_core.data.fetch import medmnist
    from search.watching.make import view_maker

    with view_maker(Console(stderr=True)) as (_, progress):
        found = kaggle.fetch(out, progress) if name == "kaggle" else medmnist(size, out, progress)
    printing.line(found)


@app.command()
@grouped
def check(
    source: SourceArgument,
    *,
    reading: ReadingOptions,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with samples, outliers and copies.")
    ] = None,
    allow_leak: Annotated[bool, typer.Option(help="Exit with 0 even when a given split leaks patients.")] = False,
) -> None:
    """Audit a source: classes, patients, what is left out, duplicates, bad files, leaks across given splits, shortcuts.

    If the images can't be divided into roles, the error follows the audit, which shows why.
    """
    from pneumo_core.codec import to_json
    from pneumo_core.data.audit import audit
    from pneumo_core.data.image_facts import look
    from search.cli.show import show_audit
    from search.home import Home
    from search.prepared import read_manifest
    from search.watching.make import view_maker, working
    from studies.spec import SourceSpec

    console = Console(stderr=as_json)
    spec = reading.over(SourceSpec(source=source))
    with view_maker(console) as (_, progress):
        manifest = read_manifest(spec, Home(home), progress)
    split, undivided = _divided(manifest, spec.split)
    with view_maker(console) as (_, progress):
        looked = look(manifest, progress)
    with working(console, "looking for copies and shortcuts"):
        found = audit(manifest, split, looked)
    if page:
        from search.report import audit_page  # brings Matplotlib

        printing.say(console, f"page: {audit_page.write(page, manifest, split, found, looked)}")
    if as_json:
        printing.result(to_json(found))
    else:
        show_audit(Console(), found)
    if undivided is not None:
        raise undivided
    raise typer.Exit(WRONG_USE if found.leak.groups and not allow_leak else DONE)


@app.command()
@grouped
def prepare(
    source: SourceArgument,
    *,
    reading: ReadingOptions,
    image_size_px: Annotated[int, typer.Option("--size", help="Side of the square arrays in pixels.")] = 64,
    channels: Annotated[int, typer.Option(help="1 (grey) or 3.")] = 1,
    resize: Annotated[str, typer.Option(help="squash, or pad: keeps the aspect ratio.")] = "squash",
    links: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write role/class/ folders of links.")] = None,
    npz: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write all arrays, 4-D and 2-D, to a file. Only an earlier output is replaced."
        ),
    ] = None,
    protocol: ProtocolOption = None,
    home: HomeOption = HOME,
) -> None:
    """Give every image its role and fill the array cache, as `launch` does when needed."""
    from pneumo_core.data.preprocess import write_npz
    from pneumo_core.data.split import write_links
    from pneumo_core.specs import DataSpec, SplitSpec
    from search.cli.show import show_split
    from search.home import Home
    from search.prepared import read_source, split_for
    from search.watching.make import view_maker
    from studies.spec import SourceSpec

    console = Console()
    data = DataSpec(image_size_px=image_size_px, channels=channels, resize=resize)  # type: ignore[arg-type]
    spec = reading.over(SourceSpec(source=source, split=split_for(protocol, SplitSpec())))
    with view_maker(console) as (_, progress):
        prepared = read_source(spec, Home(home), progress, [data])
    folder = prepared.arrays_for(data)
    show_split(console, prepared)
    printing.say(console, f"arrays: {folder}")
    if links:
        write_links(prepared.manifest, prepared.split, links)
        printing.say(console, f"links: {links}")
    if npz:
        write_npz(folder, npz)
        printing.say(console, f"npz: {npz}")


@app.command()
def cache(home: HomeOption = HOME) -> None:
    """Show the kept features of frozen backbones, in the order in which they will be deleted."""
    from datetime import datetime

    from pneumo_core.training import feature_store
    from search.home import Home

    found = feature_store.entries(feature_store.folder_in(Home(home).cache))
    for entry in found:
        used = datetime.fromtimestamp(entry.used_at).isoformat(" ", "minutes")
        printing.line(f"{entry.folder}  {entry.n_bytes / 1e6:.1f} MB  last used {used}")
    total, limit = sum(entry.n_bytes for entry in found) / 1e9, feature_store.limit_bytes() / 1e9
    printing.line(f"{len(found)} arrays of features, {total:.3f} GB of {limit:g} GB ({feature_store.LIMIT_VARIABLE})")


def _divided(manifest: "Manifest", spec: "SplitSpec") -> "tuple[Split | None, DataError | None]":
    """Return the roles, or why there can't be any."""
    from pneumo_core.data.split import assign_roles

    try:
        return assign_roles(manifest, spec), None
    except DataError as error:
        return None, error
