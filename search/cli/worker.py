"""`pneumo worker` and `pneumo storage`: a study on several machines."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pneumo_core.errors import UserError
from search.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    HomeOption,
    NameOption,
    PerGpuOption,
    QuietOption,
    StudyArgument,
    VerboseOption,
    WorkersOption,
    verbosity,
)
from search.cli.reading import ReadingOptions, with_reading

storage_app = typer.Typer(no_args_is_help=True, help="Look after databases.")

UrlOption = Annotated[
    str, typer.Option("--storage", envvar="PNEUMO_STORAGE", help="Database that the study was launched in.")
]


@with_reading
def worker(
    study: StudyArgument,
    *,
    reading: ReadingOptions,
    storage: UrlOption,
    data: Annotated[str | None, typer.Option(metavar="SRC", help="The same images, wherever they are here.")] = None,
    workers: WorkersOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, or GPU numbers such as 0,1.")] = "auto",
    trials_per_gpu: PerGpuOption = 1,
    on: Annotated[str, typer.Option(metavar="local|ray[://HOST]", help="This machine, or a Ray cluster.")] = "local",
    backend: Annotated[str | None, typer.Option(help="tensorflow or jax; by default $KERAS_BACKEND.")] = None,
    name: NameOption = None,
    protocol: Annotated[str | None, typer.Option(help="As it was launched.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="2h", help="Leave the study after 2h, 90m, 30s ...")] = None,
    hang_timeout: Annotated[str, typer.Option(help="Kill a trial without a finished epoch for so long.")] = "30m",
    trial_timeout: Annotated[str | None, typer.Option(help="Kill a trial that takes longer.")] = None,
    wait: Annotated[str | None, typer.Option(metavar="10m", help="Wait so long for a launch with work left.")] = None,
    home: HomeOption = Path("runs"),
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Join a study that was launched, and work until its budget is reached.

    Study file, images and program must be those of the launch. Ctrl-C or SIGTERM leaves in order: the trials in
    work go on elsewhere, from their last epochs where --home is a shared folder.
    """
    from search import launching as steps
    from search.cli.show import Again, show_ending
    from search.executors.local import Limits
    from search.home import Home
    from search.prepared import read_source
    from search.watching.make import view_maker
    from studies import load

    console, place = Console(), Home(home)
    spec = steps.with_options(load.load(study), name=name, data=data, reading=reading.over, protocol=protocol)
    place.check_writable()
    limits = Limits(
        hang_timeout_s=_seconds("--hang-timeout", hang_timeout),
        trial_timeout_s=_seconds("--trial-timeout", trial_timeout) if trial_timeout else None,
    )
    executor = steps.make_executor(
        on,
        place,
        spec.name,
        device=device,
        n_workers=workers,
        backend=backend,
        limits=limits,
        trials_per_gpu=trials_per_gpu,
    )
    with view_maker(console, verbosity(quiet, verbose)) as (make_view, progress):
        outcome = steps.launch(
            spec,
            storage_url=storage,
            home=place,
            prepared=read_source(spec.data, place, progress),
            executor=executor,
            make_view=make_view,
            join=True,
            wait_s=_seconds("--wait", wait) if wait else 0.0,
            leave_after_s=_seconds("--timeout", timeout) if timeout else None,
        )
    show_ending(console, outcome, Again(study=study, name=name, home=home, storage=storage, data=data))
    raise typer.Exit({"interrupted": INTERRUPTED, "failing": FAILED}.get(outcome.ending, DONE))


@storage_app.command("copy")
def storage_copy(
    source: Annotated[
        str, typer.Argument(metavar="A", help="Database to copy from: URL, or env:NAME or file:PATH that holds one.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="B", help="Database to copy to, made if need be: URL, env:NAME or file:PATH.")
    ],
    study: Annotated[list[str] | None, typer.Option(help="Only this study (may be repeated).")] = None,
) -> None:
    """Copy studies with all their trials to another database, such as from SQLite to PostgreSQL.

    Every user of the machine sees the arguments of a command: a URL with a password belongs into an environment
    variable or a file of your own.
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


def _seconds(option: str, text: str) -> float:
    from search.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
