"""The command `pneumo`: parse, call, print, return a code. Heavy imports wait until a command needs them."""

import gc
import io
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from pneumo_core.errors import PneumoError, UserError, message_of
from search import installation
from search.cli import bundle, certify, dashboard, data, export, launch, report, train_trial, weights, worker
from search.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOT_FEASIBLE,
    WRONG_USE,
    Group,
    JsonOption,
    StudyOptions,
    grouped,
)
from search.stopping import terminate_like_interrupt

ORDER = (  # of the commands in `--help`: that of their use
    *("data", "weights", "studies", "spaces", "launch", "worker", "status", "dashboard", "report", "train-trial"),
    *("finalize", "certify", "evaluate", "predict", "drift", "export", "storage"),
)
GARBAGE_AFTER = 50_000  # objects: Python's 700 search thousands of imported modules' objects again and again


class InOrder(Group):
    """Commands in the order of their use; those that `ORDER` lacks come last."""

    def list_commands(self, ctx: Any) -> list[str]:
        known = {name: place for place, name in enumerate(ORDER)}
        return sorted(super().list_commands(ctx), key=lambda name: known.get(name, len(ORDER)))


app = typer.Typer(
    name="pneumo",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Search for chest X-ray classifiers that must not miss sick patients.\n\n"
    "Start with `pneumo launch quickstart`, then `pneumo launch cnn --data FOLDER`. "
    "Everything is kept under `runs/`. The same command resumes.",
)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(worker.storage_app, name="storage")
app.command()(launch.launch)
app.command()(worker.worker)
app.command()(report.report)
app.command()(dashboard.dashboard)
app.command("train-trial")(train_trial.train_trial)
app.command()(bundle.finalize)
app.command()(bundle.evaluate)
app.command()(bundle.predict)
app.command()(certify.certify)
app.command()(certify.drift)
app.command()(export.export)


def _print_version(asked: bool) -> None:
    if asked:
        from search import __version__, printing

        printing.line(f"pneumo-search {__version__}")
        raise typer.Exit


@app.callback()
def pneumo(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that need no command."""


@app.command()
@grouped
def status(stored: StudyOptions, as_json: JsonOption = False) -> None:
    """Show the state of a study: counts, failures, and the best feasible trial."""
    from search import printing
    from search.cli.show import show_summary
    from search.records import summarise

    summary = summarise(stored.load(), stored.url)
    if as_json:
        printing.result(summary.to_json())
    else:
        show_summary(Console(), summary)
    raise typer.Exit(DONE if summary.best else NOT_FEASIBLE)


@app.command()
def studies() -> None:
    """List the studies that can be launched by name."""
    from search.cli.show import show_studies

    show_studies(Console())


@app.command()
def spaces(study: Annotated[str | None, typer.Argument(help="Show this study's space only.")] = None) -> None:
    """List what each study searches: every parameter with its range."""
    from search.cli.show import show_spaces

    show_spaces(Console(), study)


def main() -> NoReturn:
    """Run the command line; every error of the project becomes one message and its exit code."""
    gc.set_threshold(GARBAGE_AFTER)
    terminate_like_interrupt()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    try:
        installation.check()
        app()
    except UserError as error:
        _die(error, WRONG_USE)
    except PneumoError as error:
        _die(error, FAILED)
    except ValueError as error:
        _die(error, WRONG_USE)
    except OSError as error:
        _die(_of_the_system(error), FAILED)
    except KeyboardInterrupt:
        _die("interrupted; finished work is kept", INTERRUPTED)
    except Exception as error:
        if (message := _of_the_database(error)) is None:
            raise
        _die(message, FAILED)
    sys.exit(DONE)


def _of_the_system(error: OSError) -> str:
    what = error.strerror or message_of(error)
    return f"{error.filename}: {what}; check that it exists and that you may access it" if error.filename else what


def _of_the_database(error: Exception) -> str | None:
    """Return the message for an error of the database, None for any other, without loading SQLAlchemy."""
    if "sqlalchemy" not in sys.modules:
        return None
    from search.storage.database import storage_failures

    try:
        with storage_failures():
            raise error
    except PneumoError as known:
        return str(known)
    except Exception:
        return None


def _die(message: object, code: int) -> NoReturn:
    from search import printing

    printing.say(Console(stderr=True), f"pneumo: {message_of(message)}", "red")
    sys.exit(code)
