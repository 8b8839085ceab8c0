"""`pneumo data fetch`: public data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console


def fetch(
    name: Annotated[Literal["kaggle", "medmnist"], typer.Argument(help="The original images, or PneumoniaMNIST.")],
    size: Annotated[int, typer.Option(help="medmnist: side of the images in pixels: 28, 64, 128 or 224.")] = 28,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to put it in.")] = Path("data"),
) -> None:
    """Download a public data set and check it; the same command again goes on where it broke off.

    `kaggle` is "Chest X-Ray Images (Pneumonia)" (Kermany et al. 2018, CC BY 4.0, 5 856 JPEGs), `medmnist` the same
    images cropped and shrunk (Yang et al. 2023, CC BY 4.0).
    """
    from pneumo_core import fetch as sources
    from search.show import view_maker

    with view_maker(Console(stderr=True)) as (_, progress):
        found = sources.kaggle(out, progress) if name == "kaggle" else sources.medmnist(size, out, progress)
    print(found)
