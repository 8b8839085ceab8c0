"""Tables and sentences for people."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pneumo_core.manifest import Manifest
from pneumo_core.progress import Progress
from pneumo_core.split import Split
from search.launch import MakeView, Outcome
from search.records import Summary
from search.view import BarProgress, LineProgress, LineView, LiveView, View, describe_best
from studies import load

if TYPE_CHECKING:
    from pneumo_core.audit import Audit

N_REJECTED_SHOWN = 10


@contextmanager
def view_maker(console: Console) -> Iterator[tuple[MakeView, Progress]]:
    """Yield how to watch a search, and how to watch other long work, as fits the console."""
    if not console.is_terminal:
        yield (lambda _total, _slots, _summary: LineView(console)), LineProgress(console)
        return
    with ExitStack() as stack:

        def live(total: int, n_slots: int, summary: Callable[[], Summary]) -> View:
            return stack.enter_context(LiveView(console, total, n_slots, summary))

        yield live, BarProgress(console)


def show_ending(console: Console, outcome: Outcome, study: str) -> None:
    """Say how the launch ended, what the study has come to, and what to do next."""
    show_summary(console, outcome.summary)
    summary = outcome.summary
    say = _sayer(console)
    if outcome.ending == "budget":
        say(f"Budget reached: {summary.n_finished} trials. A larger --trials goes on from here.")
    elif outcome.ending == "failing":
        say(f"Stopped: trial after trial failed for the same reason. The last one: {outcome.diagnosis}")
    else:
        why = "time is up" if outcome.ending == "timeout" else "interrupted"
        say(f"Stopped ({why}); everything is saved. The same command goes on from the last finished epochs.")
    if summary.best:
        say(f"Next: `pneumo status {summary.study}`, or `pneumo launch {study} --trials {2 * summary.n_finished}`.")
    elif outcome.ending == "budget":
        say("No trial meets the false-negative ceiling yet: give more trials, or widen the space.")


def show_summary(console: Console, summary: Summary) -> None:
    say = _sayer(console)
    say(f"\nStudy {summary.study} in {summary.storage}")
    busy = "".join(f", {n} {what}" for n, what in ((summary.n_running, "running"), (summary.n_waiting, "waiting")) if n)
    say(f"{summary.n_complete} complete, {summary.n_pruned} pruned, {summary.n_failed} failed{busy}")
    for reason, n in sorted(summary.failures.items()):
        say(f"  failed: {reason}: {n}")
    if summary.best is None:
        say("No feasible trial.")
        return
    say(f"Best feasible: {describe_best(summary.best)}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in summary.best.params.items():
        table.add_row(f"  {name}", f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table, highlight=False)


def show_studies(console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("study", "what", "objective", "trials", "data"):
        table.add_column(heading)
    for name in load.names():
        spec = load.load(name)
        goal = f"{spec.objective.kind}, FNR ≤ {spec.objective.fnr_ceiling:g}"
        table.add_row(name, spec.description, goal, str(spec.budget.trials), spec.data.source or "--data")
    console.print(table, highlight=False)


def show_spaces(console: Console, only: str | None) -> None:
    for name in [only] if only else load.names():
        spec = load.load(name)
        table = Table(box=None, pad_edge=False, title=f"{spec.name}: {spec.description}", title_justify="left")
        table.add_column("parameter")
        table.add_column("range")
        parameters = {key: p for recorder, _ in load.probes(spec) for key, p in recorder.parameters.items()}
        for key, parameter in sorted(parameters.items()):
            table.add_row(key, str(parameter))
        console.print(table, "", highlight=False)


def show_split(console: Console, manifest: Manifest, split: Split) -> None:
    """Print images, patients and class shares by role, and what was set aside."""
    table = Table(box=None, pad_edge=False)
    for heading in ("role", manifest.negative, manifest.positive, "groups", "share positive"):
        table.add_column(heading, justify="left" if heading == "role" else "right")
    for role in sorted(set(split.roles), key=list(ROLE_ORDER).index):
        mine = [i for i, r in enumerate(split.roles) if r == role]
        n = Counter(manifest.records[i].label for i in mine)
        groups = len({split.groups[i] for i in mine})
        table.add_row(role, str(n[0]), str(n[1]), str(groups), f"{n[1] / len(mine):.1%}")
    console.print(table, highlight=False)
    say = _sayer(console)
    for note in split.notes:
        say(note)
    _show_rejected(console, manifest)


def show_audit(console: Console, audit: "Audit") -> None:
    """Print an audit as `pneumo data check` shows it."""
    from pneumo_core.audit import describe

    for line in describe(audit):
        _sayer(console)(line)


def _show_rejected(console: Console, manifest: Manifest) -> None:
    if not manifest.rejected:
        return
    say = _sayer(console)
    say(f"{len(manifest.rejected)} files can't be used and are set aside:")
    for rejected in manifest.rejected[:N_REJECTED_SHOWN]:
        say(f"  {rejected.path}: {rejected.reason}")
    if len(manifest.rejected) > N_REJECTED_SHOWN:
        say(f"  ... and {len(manifest.rejected) - N_REJECTED_SHOWN} more (`pneumo data check --json` lists all)")


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


ROLE_ORDER = ("train", "validation", "calibration", "test", "excluded")
