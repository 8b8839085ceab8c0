"""The commands that make and use bundles: finalize, evaluate, predict."""

import signal
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from search import printing
from search.cli.options import (
    DONE,
    FAILED,
    HOME,
    NOT_FEASIBLE,
    HomeOption,
    JsonOption,
    QuietOption,
    StudyAndImages,
    TrainingOptions,
    grouped,
    verbosity,
)
from search.cli.reading import ReadingOptions

if TYPE_CHECKING:
    from pneumo_core.bundles.bundle_process import Request

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by `pneumo finalize`.")]


@grouped
def finalize(
    context: typer.Context,
    stored: StudyAndImages,
    *,
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder to make. It must not exist.")],
    members: Annotated[int, typer.Option(metavar="K", help="Number of networks to average.")] = 5,
    retrain: Annotated[
        bool, typer.Option(help="Train the best trial on K folds instead of taking the networks of the K best trials.")
    ] = False,
    ceiling: Annotated[float | None, typer.Option(help="False-negative rate to certify. Default: the study's.")] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the certificate and of all intervals.")] = 0.95,
    under_shifts: Annotated[
        bool, typer.Option(help="Certify for the worst of the study's shifts as well: `docs/your_own_data.md`.")
    ] = False,
    trainings: TrainingOptions,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Average the best trials' networks, certify a threshold, open the test role once, and write the bundle.

    Nothing is trained without --retrain, unless a trial's network is missing here. Ctrl-C stops; the same command
    resumes.
    """
    from search.cli.show_bundle import show_finalized, summary
    from search.finalizing.finalize import Options
    from search.finalizing.make import make_bundle
    from search.watching.make import view_maker

    options = Options(
        members=members, retrain=retrain, ceiling=ceiling, confidence=confidence, under_shifts=under_shifts
    )
    console = Console(stderr=as_json)
    signal.signal(signal.SIGTERM, _interrupt)
    notes = Console(quiet=True) if quiet else console
    with view_maker(console, verbosity(quiet)) as (_, progress):
        found = make_bundle(
            stored.stored_name,
            out=out,
            source=stored.source,
            options=options,
            storage_url=stored.url,
            home=stored.place,
            machine=trainings.machine,
            say=printing.sayer(notes),
            progress=progress,
        )
    if found is None:
        printing.say(console, "No trial meets the false-negative ceiling, so there is nothing to finalize.")
        raise typer.Exit(NOT_FEASIBLE)
    show_finalized(console, found, context)
    if as_json:
        printing.result(summary(found))
    raise typer.Exit(DONE)


@grouped
def evaluate(
    bundle: BundleArgument,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Labelled images: folder, .npz or `phantom`.")],
    *,
    reading: ReadingOptions,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled images: every figure with its interval.

    Without --negative and --positive, class folders are those of the bundle.
    """
    from pneumo_core.bundles.bundle_process import Evaluate
    from pneumo_core.data.source_spec import SourceSpec
    from search.cli.show_bundle import show_evaluation

    cache = str(home / "cache")
    request = Evaluate(bundle=str(bundle), source=reading.over(SourceSpec(source=folder)), cache=cache)
    print_answer(request, show_evaluation, as_json)


def predict(
    bundle: BundleArgument,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="JPEG, PNG, TIFF, WebP, BMP, JPEG 2000 or DICOM, or folders of them."),
    ],
    heatmaps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a saliency overlay for each image."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score single images: score, decision, threshold. A bad file is one error row.

    With 30 files or more, a line on standard error says whether they are like the images of the certificate.
    The exit code is 1 where no file could be scored.
    """
    from pneumo_core.bundles.bundle_process import Predict
    from pneumo_core.data.folders import images_in
    from pneumo_core.errors import UserError
    from search.cli.show_bundle import show_predictions

    paths = [inner for file in files for inner in (images_in(file) if file.is_dir() else [file])]
    if not paths:
        raise UserError(f"there is no image file in {', '.join(f'`{file}`' for file in files)}")
    request = Predict(
        bundle=str(bundle), paths=tuple(map(str, paths)), heatmaps=str(heatmaps) if heatmaps else None, compare=True
    )
    answer = answer_to(request, as_json)
    if as_json:
        printing.result(answer["rows"])
    else:
        show_predictions(Console(), answer["rows"])
    if answer["drift"]:
        printing.say(Console(stderr=True), answer["drift"])
    if all("error" in row for row in answer["rows"]):
        raise typer.Exit(FAILED)


def answer_to(request: "Request", as_json: bool) -> Any:
    """Ask the process with the model, and show how far it is."""
    from search.bundle_client import ask
    from search.watching.make import view_maker

    with view_maker(Console(stderr=as_json)) as (_, progress):
        return ask(request, progress)


def print_answer(request: "Request", show: Callable[[Console, Any], None], as_json: bool) -> None:
    """Ask the process with the model, and print its answer."""
    answer = answer_to(request, as_json)
    if as_json:
        printing.result(answer)
    else:
        show(Console(), answer)


def _interrupt(_number: int, _frame: types.FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
