"""`pneumo worker` and `pneumo storage`: a study on several machines."""

from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console

from search.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    Group,
    MachineOptions,
    QuietOption,
    StudyOptions,
    VerboseOption,
    duration,
    grouped,
    verbosity,
)
from search.cli.reading import ReadingOptions

storage_app = typer.Typer(cls=Group, no_args_is_help=True, help="Copy studies between databases.")


@dataclass(frozen=True, kw_only=True)
class LaunchedStudy(StudyOptions):
    """A study that another process launched. Its database must be given."""

    storage: Annotated[str, typer.Option("--storage", envvar="PNEUMO_STORAGE", help="Database of the study.")] = field()


@grouped
def worker(
    context: typer.Context,
    stored: LaunchedStudy,
    *,
    data: Annotated[str | None, typer.Option(metavar="SRC", help="The same images on this machine.")] = None,
    machine: MachineOptions,
    protocol: Annotated[str | None, typer.Option(help="The protocol of the launch.")] = None,
    timeout: Annotated[float | None, duration("Leave the study after 2h, 90m, 30s ...")] = None,
    wait: Annotated[float | None, duration("How long to wait for a launch that has work left.", metavar="10m")] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    reading: ReadingOptions,
) -> None:
    """Join a study that was launched, and work until its budget is reached.

    Study file, images and program must be those of the launch. Ctrl-C or SIGTERM shuts down cleanly: the running
    trials continue elsewhere, from their last epochs where --home is a shared folder.
    """
    from search import launching as steps
    from search.cli.show import show_ending
    from search.watching.make import view_maker
    from studies import load

    console = Console()
    study = steps.with_options(
        load.load(stored.study), name=stored.name, data=data, reading=reading.over, protocol=protocol
    )
    join = steps.Join(wait_s=wait or 0.0, leave_after_s=timeout)
    options = steps.Options(storage_url=stored.url, home=stored.place, join=join)
    outcome = steps.launch(study, options, machine.machine, view_maker(console, verbosity(quiet, verbose)))
    show_ending(console, outcome, context)
    raise typer.Exit({"interrupted": INTERRUPTED, "failing": FAILED}.get(outcome.ending, DONE))


@storage_app.command("copy")
def storage_copy(
    source: Annotated[
        str, typer.Argument(metavar="A", help="Database to copy from: URL, or env:NAME or file:PATH that holds one.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="B", help="Database to copy to, created if missing: URL, env:NAME or file:PATH.")
    ],
    study: Annotated[list[str] | None, typer.Option(help="Only this study. May be repeated.")] = None,
) -> None:
    """Copy studies with all their trials to another database, such as from SQLite to PostgreSQL.

    Every user of the machine sees the arguments of a command. Put a URL with a password into an environment variable
    or a file of your own.
    """
    from search import printing
    from search.storage.database import open_storage, redacted
    from search.stored_trials import trials_of
    from search.study import copy_study, study_names

    console = Console()
    old = open_storage(source, create=False)
    names = study or study_names(old)
    new = open_storage(target)
    for name in names:
        copied = copy_study(name, old, new)
        n_trials = len(trials_of(copied).ours)
        printing.say(console, f"{name}: {n_trials} trials now in {redacted(target)}")
