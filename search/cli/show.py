"""Tables and sentences for people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from pneumo_core.tuner.dialogue import DRAWN
from search import printing
from search.cli.again import next_command
from search.watching.describe import describe_best, describe_tied
from studies import load

if TYPE_CHECKING:
    import typer

    from pneumo_core.data.audit import Audit
    from pneumo_core.data.manifest import LeftOut, Rejected
    from pneumo_core.data.split import RoleCount
    from search.launching import Outcome
    from search.prepared import Prepared
    from search.records import Summary

N_REJECTED_SHOWN = 10


def show_ending(console: Console, outcome: "Outcome", context: "typer.Context") -> None:
    """Say how the command of `context` ended, the state of the study, and what to do next."""
    show_summary(console, outcome.summary)
    summary = outcome.summary
    say = printing.sayer(console)
    if outcome.ending == "budget":
        say(f"Budget reached: {summary.n_finished} trials. A larger --trials continues from here.")
    elif outcome.ending == "failing":
        say(f"Stopped: {outcome.diagnosis}")
    elif outcome.ending == "stale":
        say(f"Stopped after {summary.n_finished} trials: none of the last ones was better (`patience_trials`).")
    else:
        why = "time is up" if outcome.ending == "timeout" else "interrupted"
        say(f"Stopped ({why}); everything is saved. The same command continues from the last finished epochs.")
    more = next_command(context, "launch", "--trials", 2 * summary.n_finished)
    if summary.best:
        say(f"Next: `{next_command(context, 'status')}`, or `{more}`.")
    elif outcome.ending == "budget":
        say(f"No trial meets the false-negative ceiling yet. Next: more trials (`{more}`), or a wider space.")


def show_summary(console: Console, summary: "Summary") -> None:
    say = printing.sayer(console)
    say(f"\nStudy {summary.study} in {summary.storage}")
    busy = "".join(f", {n} {what}" for n, what in ((summary.n_running, "running"), (summary.n_waiting, "waiting")) if n)
    say(f"{summary.n_complete} complete, {summary.n_pruned} pruned, {summary.n_failed} failed{busy}")
    if summary.n_foreign:
        say(f"  {summary.n_foreign} trials that this program did not make are left out")
    for index, rung in enumerate(summary.rungs, start=1):
        where = f"rung {index} ({rung.epochs} epochs at {rung.scale:g} of the image size)"
        say(f"  {where}: {rung.n_reached} paused, {rung.n_promoted} of them continued")
    for reason, n in sorted(summary.failures.items()):
        message = summary.messages.get(reason, "")
        say(f"  failed: {reason}: {n}" + (f", the last: {message}" if message else ""))
    if summary.best is None:
        say("No feasible trial.")
        return
    say(f"Best feasible: {describe_best(summary.best)}")
    if tied := describe_tied(summary.best):
        say(tied)
    table = printing.table()
    for name, value in summary.best.params.items():
        printing.add(table, f"  {name}", f"{value:.4g}" if isinstance(value, float) else str(value))
    printing.show(console, table)


def show_studies(console: Console) -> None:
    table = printing.table(("study", "what", "objective", "trials", "data"))
    for name in load.names():
        spec = load.read(name)
        goal = f"{spec.objective.kind}, FNR ≤ {spec.objective.fnr_ceiling:g}"
        printing.add(table, name, spec.description, goal, str(spec.budget.trials), spec.data.source or "--data")
    printing.show(console, table)


def show_spaces(console: Console, only: str | None) -> None:
    for name in [only] if only else load.names():
        study = load.load(name)
        table = printing.table(("parameter", "range"), title=f"{study.spec.name}: {study.spec.description}")
        for key, parameter in sorted(study.draws.parameters.items()):
            if not key.endswith(DRAWN):
                printing.add(table, key, parameter)
        printing.show(console, table)
        printing.say(console, "")


def show_split(console: Console, prepared: "Prepared") -> None:
    """Print images, patients and class shares by role, and what was set aside."""
    from pneumo_core.data.split import role_counts

    manifest, split = prepared.manifest, prepared.split
    show_roles(console, role_counts(manifest, split), (manifest.negative, manifest.positive))
    show_notes(console, prepared)


def show_notes(console: Console, prepared: "Prepared") -> None:
    """Print remarks on the roles, and which files are set aside."""
    for note in (*prepared.manifest.notes, *prepared.split.notes):
        printing.say(console, note)
    show_left_out(console, prepared.manifest.left_out)
    show_rejected(console, prepared.manifest.rejected)


def show_audit(console: Console, audit: "Audit") -> None:
    """Print an audit as `pneumo data check` shows it."""
    say = printing.sayer(console)
    say(f"{audit.source}: {_counts(audit.classes)} images of {audit.n_groups} patients (look-alikes counted as one)")
    for what, counts in (
        ("kinds", audit.kinds),
        ("folders", audit.official_roles),
        ("sizes in px", audit.sizes_px),
        ("modes", audit.modes),
    ):
        say(f"{what}: {_counts(counts)}")
    d = audit.duplicates
    say(f"exact duplicates: {d.exact_images} images in {d.exact_sets} sets; near: {d.near_images} in {d.near_sets}")
    if audit.roles:
        show_roles(console, audit.roles, audit.classes)
    if audit.shortcuts:
        say("How well file headers alone, without any pixel, predict the class (AUC; 0.5 is chance):")
        say(f"  {_auc(audit.shortcuts.single)}; together {audit.shortcuts.worst:.3f}")
    show_pixels(console, audit)
    for note in audit.notes:
        say(note)
    show_left_out(console, audit.left_out)
    show_rejected(console, audit.rejected)
    for warning in audit.warnings:
        printing.say(console, f"warning: {warning}", "yellow")


def show_pixels(console: Console, audit: "Audit") -> None:
    """Print what the pixels show: facts that predict the class, altered copies, images unlike the others."""
    say = printing.sayer(console)
    if audit.image_facts:
        say(f"How well a fact of the pixels alone predicts the class (AUC): {_auc(audit.image_facts)}")
    for how, n in Counter(pair.how for pair in audit.copies).most_common():
        first = next(pair for pair in audit.copies if pair.how == how)
        say(f"changed copies, {how}: {n}, such as {printing.inline(first.first)} and {printing.inline(first.second)}")
    for odd in audit.odd[:N_REJECTED_SHOWN]:
        say(f"unlike the others: {printing.inline(odd.path)} is {odd.how}")
    if len(audit.odd) > N_REJECTED_SHOWN:
        say(f"  ... and {len(audit.odd) - N_REJECTED_SHOWN} more (`pneumo data check SRC --json` lists all)")


def show_roles(console: Console, counts: "Iterable[RoleCount]", classes: Iterable[str]) -> None:
    """Print images by role and class."""
    headings = ("role", *classes, "patients", "share positive")
    table = printing.table(headings, right=range(1, len(headings)))
    for of in counts:
        share = of.n_positive / max(1, of.n_images)
        printing.add(table, of.role, of.n_negative, of.n_positive, of.n_groups, f"{share:.1%}")
    printing.show(console, table)


def show_left_out(console: Console, left_out: "Sequence[LeftOut]") -> None:
    """Print what isn't read as an image of a class, and why."""
    for entry in left_out:
        printing.sayer(console)(str(entry))


def show_rejected(console: Console, rejected: "Sequence[Rejected]") -> None:
    """Print how many files are set aside, and why the first of them are."""
    if not rejected:
        return
    say = printing.sayer(console)
    say(f"{len(rejected)} files can't be used and are set aside:")
    for file in rejected[:N_REJECTED_SHOWN]:
        say(f"  {printing.inline(file.path)}: {file.reason}")
    if len(rejected) > N_REJECTED_SHOWN:
        say(f"  ... and {len(rejected) - N_REJECTED_SHOWN} more (`pneumo data check SRC --json` lists all)")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {printing.inline(name)}" for name, n in counts.items())


def _auc(single: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in sorted(single.items(), key=lambda item: -item[1]))
