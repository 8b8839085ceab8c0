"""Bundles and their figures, for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pneumo_core.bundles.promise import promise
from search import printing
from search.cli.again import next_command
from search.finalizing.card_results import FIGURES
from search.finalizing.finalize import Finalized

if TYPE_CHECKING:
    import typer


def show_finalized(console: Console, found: Finalized, context: "typer.Context") -> None:
    """Print the result of the finalize of `context`."""
    say = printing.sayer(console)
    if found.was_there:
        say(f"This very bundle is in {found.folder} already; the test role was not opened again.")
    say(f"\nTest role, opened {found.bundle.n_test_openings} time(s):")
    show_figures(console, found.bundle.test)
    say(f"\n{promise(found.bundle).replace('*', '')}")
    say(f"Bundle: {found.folder} (start with MODEL_CARD.md)")
    following = (("predict", "FILE..."), ("evaluate", "DIR"))
    say(f"Next: {', '.join(f'`{next_command(context, name, found.folder, what)}`' for name, what in following)}.")


def summary(found: Finalized) -> dict[str, Any]:
    """Return the object that `finalize --json` prints."""
    bundle = found.bundle
    return {
        "bundle": str(found.folder),
        "study": bundle.study,
        "trials": [member.trial for member in bundle.members],
        "threshold": bundle.threshold,
        "guarantee": bundle.guarantee,
        "ceiling": bundle.ceiling,
        "confidence": bundle.confidence,
        "n_test_openings": bundle.n_test_openings,
        "test": dict(bundle.test),
    }


def show_evaluation(console: Console, answer: Mapping[str, Any]) -> None:
    """Print the figures of `evaluate`, with remarks."""
    say = printing.sayer(console)
    show_figures(console, answer)
    for note in answer["notes"]:
        say(f"Note: {note}")
    if answer["rejected"]:
        say(f"{len(answer['rejected'])} files can't be used and were left out:")
        for path, reason in answer["rejected"][:10]:
            say(f"  {printing.inline(path)}: {reason}")


def show_predictions(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line a file: score, decision, path."""
    say = printing.sayer(console)
    width = max((len(row.get("decision", "")) for row in rows), default=0)
    for row in rows:
        if "error" in row:
            say(f"{'–':6}  {'error':{width}}  {printing.inline(row['path'])}: {row['error']}")
        else:
            lacks = f" (no heatmap: {row['heatmap_error']})" if "heatmap_error" in row else ""
            say(f"{row['score']:.4f}  {row['decision']:{width}}  {printing.inline(row['path'])}{lacks}")


def show_figures(console: Console, figures: Mapping[str, Any]) -> None:
    """Print an assessment: every figure with its interval, recall by kind, misses by patient."""
    say = printing.sayer(console)
    say(f"{figures['n']} images, {figures['n_positive']} positive, at threshold {figures['threshold']:.6g}")
    table = printing.table(("figure", "value", "interval"))
    for title, key in FIGURES:
        if figures[key] is not None:
            low, high = figures.get(f"{key}_ci") or figures[f"{key}_if_calibrated"]
            chance = "" if f"{key}_ci" in figures else " if calibrated"
            printing.add(table, title, f"{figures[key]:.4f}", f"{low:.4f} to {high:.4f}{chance}")
    for kind, found in figures["recall_by_kind"].items():
        low, high = found["recall_ci"]
        printing.add(table, f"Recall, {kind} ({found['n']})", f"{found['recall']:.4f}", f"{low:.4f} to {high:.4f}")
    printing.show(console, table)
    say(f"False-negative rate {figures['fnr']:.2%}, upper bound {figures['fnr_upper']:.2%}")
