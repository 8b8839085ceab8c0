"""`pneumo data fetch` and `pneumo data cache`: public data sets, and what is kept of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from search.cli.options import HomeOption


def fetch(
    name: Annotated[Literal["kaggle", "medmnist"], typer.Argument(help="The original images, or PneumoniaMNIST.")],
    size: Annotated[int, typer.Option(help="medmnist: side of the images in pixels: 28, 64, 128 or 224.")] = 28,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to put it in.")] = Path("data"),
) -> None:
    """Download a public data set and check it; the same command again goes on where it broke off.

    `kaggle` is "Chest X-Ray Images (Pneumonia)" (Kermany et al. 2018, CC BY 4.0, 5 856 JPEGs), `medmnist` the same
    images cropped and shrunk (Yang et al. 2023, CC BY 4.0).
    """
    from pneumo_core.data import kaggle
    from pneumo_core.data.fetch import medmnist
    from search.cli.show import view_maker

    with view_maker(Console(stderr=True)) as (_, progress):
        found = kaggle.fetch(out, progress) if name == "kaggle" else medmnist(size, out, progress)
    print(found)


def cache(home: HomeOption = Path("runs")) -> None:
    """Show the kept features of frozen backbones, the ones used longest ago first, which go first."""
    from datetime import datetime

    from pneumo_core.training import feature_store
    from search.home import Home

    found = feature_store.entries(feature_store.folder_in(Home(home).cache))
    for entry in found:
        used = datetime.fromtimestamp(entry.used_at).isoformat(" ", "minutes")
        print(f"{entry.folder}  {entry.n_bytes / 1e6:.1f} MB  last used {used}")
    total, limit = sum(entry.n_bytes for entry in found) / 1e9, feature_store.limit_bytes() / 1e9
    print(f"{len(found)} arrays of features, {total:.3f} GB of {limit:g} GB ({feature_store.LIMIT_VARIABLE})")
