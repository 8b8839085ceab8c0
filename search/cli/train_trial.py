"""`pneumo train-trial`: the model of one trial, without a certificate."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search import printing
from search.cli.again import next_command
from search.cli.options import DeviceOptions, JsonOption, QuietOption, StudyAndImages, grouped, verbosity


@grouped
def train_trial(
    context: typer.Context,
    stored: StudyAndImages,
    *,
    trial: Annotated[int, typer.Argument(metavar="N", help="Number of the trial.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder to make. It must not exist.")],
    training: DeviceOptions,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the model of one trial as an UNCERTIFIED bundle. If its network is not kept, train it again.

    `pneumo predict`, `evaluate` and `export` use it. Its threshold is that of validation, without a guarantee.
    `pneumo finalize` and `certify` certify one. Calibration and test images stay closed.
    """
    from search.finalizing.one_trial import make_bundle_of_trial
    from search.watching.describe import describe_metrics
    from search.watching.make import view_maker

    console = Console(stderr=as_json, quiet=quiet)
    with view_maker(console, verbosity(quiet)) as (_, progress):
        found = make_bundle_of_trial(
            stored.stored_name,
            trial,
            out=out,
            source=stored.source,
            storage_url=stored.url,
            home=stored.place,
            machine=training.machine,
            say=printing.sayer(console),
            progress=progress,
        )
    metrics = found.metrics
    say = [
        f"Validation: {describe_metrics(metrics)}, threshold {metrics.threshold:.4f}",
        "These differ from the figures of the search: it was trained again by another version, machine or over folds."
        if found.differs
        else "These are the figures of the search.",
        "Not certified: the threshold is that of validation, without a guarantee for new patients.",
        f"Bundle: {out} (start with MODEL_CARD.md). Next: `{next_command(context, 'predict', out, 'FILE...')}`.",
    ]
    printing.say(console, "\n".join(say))
    if as_json:
        facts = {"bundle": str(out), "study": found.bundle.study, "trial": trial, "guarantee": found.bundle.guarantee}
        figures = {key: getattr(metrics, key) for key in ("recall", "fnr", "specificity", "auc", "pauc", "threshold")}
        printing.result(facts | {"validation": figures})
