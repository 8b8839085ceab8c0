"""Bundles and what they say, for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pneumo_core.bundles.promise import promise
from search.finalizing.finalize import Finalized
from search.finalizing.model_card import FIGURES


def show_finalized(console: Console, found: Finalized) -> None:
    """Print what a finalize came to."""
    say = _sayer(console)
    if found.was_there:
        say(f"This very bundle is in {found.folder} already; the test role was not opened again.")
    say(f"\nTest role, opened {found.bundle.n_test_openings} time(s):")
    show_figures(console, found.bundle.test)
    say(f"\n{promise(found.bundle).replace('*', '')}")
    say(f"Bundle: {found.folder} (start with MODEL_CARD.md)")
    say(f"Next: `pneumo predict {found.folder} FILE...`, `pneumo evaluate {found.folder} DIR`.")


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
    """Print the figures of `evaluate`, and what to bear in mind."""
    say = _sayer(console)
    show_figures(console, answer)
    for note in answer["notes"]:
        say(f"Note: {note}")
    if answer["rejected"]:
        say(f"{len(answer['rejected'])} files can't be used and were left out:")
        for path, reason in answer["rejected"][:10]:
            say(f"  {path}: {reason}")


def show_predictions(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line a file: score, decision, path."""
    say = _sayer(console)
    width = max((len(row.get("decision", "")) for row in rows), default=0)
    for row in rows:
        if "error" in row:
            say(f"{'–':6}  {'error':{width}}  {row['path']}: {row['error']}")
        else:
            say(f"{row['score']:.4f}  {row['decision']:{width}}  {row['path']}")


def show_figures(console: Console, figures: Mapping[str, Any]) -> None:
    """Print an assessment: every figure with its interval, recall by kind, misses by patient."""
    say = _sayer(console)
    say(f"{figures['n']} images, {figures['n_positive']} positive, at threshold {figures['threshold']:.6g}")
    table = Table(box=None, pad_edge=False)
    for heading in ("figure", "value", "interval"):
        table.add_column(heading)
    for title, key in FIGURES:
        if figures[key] is not None:
            low, high = figures.get(f"{key}_ci") or figures[f"{key}_if_calibrated"]
            chance = "" if f"{key}_ci" in figures else " if calibrated"
            table.add_row(title, f"{figures[key]:.4f}", f"{low:.4f} to {high:.4f}{chance}")
    for kind, found in figures["recall_by_kind"].items():
        low, high = found["recall_ci"]
        table.add_row(Text(f"Recall, {kind} ({found['n']})"), f"{found['recall']:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(table, highlight=False)
    say(f"False-negative rate {figures['fnr']:.2%}, upper bound {figures['fnr_upper']:.2%}")


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
