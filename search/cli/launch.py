"""`pneumo launch`: run a study, or resume it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOT_FEASIBLE,
    JsonOption,
    MachineOptions,
    ProtocolOption,
    QuietOption,
    StudyOptions,
    VerboseOption,
    at_least_one,
    duration,
    grouped,
    verbosity,
)
from search.cli.reading import ReadingOptions

if TYPE_CHECKING:
    from search.launching import Outcome


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What changes a study's own settings."""

    data: Annotated[str | None, typer.Option(metavar="SRC", help="Images: folder, .npz or `phantom`.")] = None
    trials: Annotated[
        int | None, typer.Option(metavar="N", callback=at_least_one, help="TOTAL trials, over all launches.")
    ] = None
    timeout: Annotated[float | None, duration("Stop this launch after 2h, 90m, 30s ...")] = None
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Another seed than the study's. Needs a new --name.")
    ] = None
    protocol: ProtocolOption = None
    hook: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Report to mlflow, wandb or module:Name. May be repeated."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How a study is launched."""

    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every trial's curves for `tensorboard --logdir DIR`.")
    ] = None
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="SRC",
            help="Try the best points of an earlier search first: a study, URL#STUDY of an Optuna database, or the "
            "folder of a KerasTuner search.",
        ),
    ] = None
    extend: Annotated[bool, typer.Option("--extend", help="Keep the trials of a study whose space got wider.")] = False


@grouped
def launch(
    context: typer.Context,
    stored: StudyOptions,
    settings: SearchOptions,
    machine: MachineOptions,
    how: LaunchOptions,
    *,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
    reading: ReadingOptions,
) -> None:
    """Run a study, or resume it up to its total budget.

    Ctrl-C shuts down cleanly. The next launch continues running trials from their last epochs.
    """
    from search import launching as steps
    from search import printing
    from search.cli.show import show_ending, show_notes
    from search.watching.make import view_maker
    from studies import load

    console = Console(stderr=as_json)
    study = steps.with_options(
        load.load(stored.study),
        name=stored.name,
        data=settings.data,
        reading=reading.over,
        protocol=settings.protocol,
        trials=settings.trials,
        timeout_s=settings.timeout,
        seed=settings.seed,
        hooks=settings.hook or (),
    )
    options = steps.Options(storage_url=stored.url, home=stored.place, **vars(how))
    views = view_maker(console, verbosity(quiet, verbose))
    outcome = steps.launch(study, options, machine.machine, views, lambda read: show_notes(console, read))
    show_ending(console, outcome, context)
    if as_json:
        printing.result(outcome.summary.to_json())
    raise typer.Exit(_exit_code(outcome))


def _exit_code(outcome: "Outcome") -> int:
    if outcome.ending == "interrupted":
        return INTERRUPTED
    if outcome.ending == "failing":
        return FAILED
    return DONE if outcome.summary.best else NOT_FEASIBLE
