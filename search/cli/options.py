"""Arguments and options that several commands share, and their exit codes."""

from pathlib import Path
from typing import Annotated

import typer

from pneumo_core.errors import UserError

DONE, FAILED, WRONG_USE, NOT_FEASIBLE, INTERRUPTED = 0, 1, 2, 3, 130


def at_least_one(option: typer.CallbackParam, value: int | None) -> int | None:
    """Return an option's value; raises `UserError` below 1."""
    if value is not None and value < 1:
        raise UserError(f"{option.opts[0]} must be at least 1, got {value}")
    return value


StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A name from `pneumo studies`, or a study file.")]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder with NORMAL/ and PNEUMONIA/ (with or without train/ val/ test/ above), a folder and --labels, "
        "a .npz, or `phantom`.",
    ),
]
HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="PNEUMO_HOME", help="Folder of database, caches, checkpoints, logs.", metavar="DIR"),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="PNEUMO_STORAGE",
        help="Database URL (or env:NAME, file:PATH that holds one); default: SQLite in the home folder.",
        metavar="URL",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Store (or find) the study under this name, e.g. once per data set.", metavar="NAME"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the outcome only, no progress.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print a line after each epoch as well.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last on standard output.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=at_least_one,
        help="Trials side by side; several are faster on CPUs, too, and take more memory.",
    ),
]
PerGpuOption = Annotated[int, typer.Option(metavar="K", callback=at_least_one, help="Trials that share a GPU.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option(help="patient_grouped, or per_image_random: it LEAKS patients, only to compare with old results."),
]


def verbosity(quiet: bool, verbose: bool = False) -> int:
    """Return what `view_maker` takes. Raises `UserError` for both at once."""
    if quiet and verbose:
        raise UserError("--quiet and --verbose exclude each other")
    return verbose - quiet


def study_name(study: str) -> str:
    """Return the stored name: that of the study file, or the word itself for one that has no file here."""
    from studies import load

    return load.read(study).name if study.endswith(".py") else study


def existing_storage(storage: str | None, home: Path) -> str:
    from search.home import Home

    return storage or Home(home).storage_url
