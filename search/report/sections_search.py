"""The search as a whole: data, history, tables of trials, what mattered, what was lost, what it cost."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pneumo_core.data.split import RoleCount
from search import objectives
from search.records import RungCount
from search.report import diagrams, gather, plots_parameters, plots_search, svg
from search.report.data import DataFlow, Importance, ReportData, TrialRow
from search.report.markup import (
    STATE_WORDS,
    Html,
    count,
    details,
    duration,
    facts,
    figure,
    join,
    missing,
    note,
    paragraph,
    percent,
    plural,
    scalar,
    table,
    tag,
)

N_REJECTED = 50  # unusable files named one by one
N_BEST = 10
NOTHING = "No trial has been judged yet."
FOLD = 12  # rows from which a table is folded
MAX_ROWS = 1000  # of the table of all trials
N_NUMBERS = 30  # trial numbers named one by one
_HEAD = ("trial", "", "recall", "FNR", "specificity", "AUC", "partial AUC", "threshold", "training", "weights")


def data_flow(data: ReportData) -> Html:
    """Return images and patients by role."""
    found = data.flow
    if found is None:
        return missing(data.no_data)
    head = ("role", found.positive, found.negative, "images", "share positive", "patient groups", "of them positive")
    leak = paragraph(tag("strong", "This split leaks patients: "), "the figures are too good.", class_="verdict bad")
    caption = "A patient group is a patient, together with others whose images look the same."
    apart = "" if found.leaks else " No group is in two roles."
    return join(
        [
            leak if found.leaks else Html(),
            figure(diagrams.flow(found, by_fold=data.n_folds is not None), caption + apart),
            table(head, [_role(role) for role in found.roles if role.n_images], label="Images by role"),
            *(note(f"{text[:1].upper()}{text[1:]}.") for text in found.notes),
            _rejected(found),
        ]
    )


def history(data: ReportData) -> Html:
    """Return the optimisation history, the trade-off and the best trials."""
    if not svg.judged(data.trials):
        return missing(NOTHING)
    what = "value" if len(data.metric_names) == 1 else "values"
    caption = (
        f"The {what} that the study maximises: {', '.join(data.metric_names)}. Pruned trials are at their best epoch; "
        "those far below all others are at the lower edge."
    )
    corner = "Each trial at its own threshold. The shaded corner meets both the ceiling and the floor."
    return join(
        [
            figure(plots_search.history(data.trials, data.metric_names), caption),
            figure(plots_search.trade_off(data.trials, data.objective, data.shown), corner),
            tag("h3", "Best trials"),
            best_table(gather.top(data.trials, N_BEST)),
            details(f"All {plural(len(data.trials), 'trial')} with their settings", all_trials_table(data.trials)),
        ]
    )


def what_mattered(data: ReportData) -> Html:
    """Return importance and parallel coordinates."""
    if not svg.judged(data.trials):
        return missing(NOTHING)
    bars = [_importance(found) for found in data.importances]
    how = (
        f"PED-ANOVA over {plural(data.summary.n_complete, 'complete trial')}: how differently a parameter is set in "
        f"the best tenth (at least {gather.BEST_TRIALS} trials), for feasibility in the tenth that stays furthest "
        "under the ceiling. Below 50 trials, a hint."
    )
    return join([tag("div", *bars, class_="pair"), note(how), _parallel(data)])


def losses(data: ReportData) -> Html:
    """Return what was pruned, what failed, and why."""
    pruned = [row for row in data.trials if row.state == "pruned"]
    failed = [row for row in data.trials if row.state == "failed"]
    watched = objectives.of(data.objective).watched
    caption = f"{watched} after every {data.step}, which the pruner watches; a cross is where it stopped a trial."
    reported = any(row.reported for row in data.trials)
    drawn = figure(plots_search.learning(data.trials, watched, data.step), caption) if reported else Html()
    return join(
        [
            drawn,
            _rungs(data),
            tag("h3", f"Pruned: {len(pruned)}"),
            pruned_table(pruned) if pruned else paragraph("No trial was pruned."),
            tag("h3", f"Failed: {len(failed)}"),
            failed_table(failed) if failed else paragraph("No trial failed."),
        ]
    )


def _rungs(data: ReportData) -> Html:
    if not data.summary.rungs:
        return Html()
    how = (
        "Every trial begins on small images. At the end of a rung it is paused, and counted among the pruned unless it "
        "continues: as a new trial with the same settings, which takes over weights and training time. The curves "
        "above therefore change images at the rungs."
    )
    return join([tag("h3", "Cheap trials first"), rungs_table(data.summary.rungs), note(how)])


def cost(data: ReportData) -> Html:
    """Return time by outcome, and what time and parameters bought."""
    timed = [row for row in data.trials if row.seconds is not None and row.repeats is None]
    ran = any(row.began and row.ended for row in data.trials)
    n_repeats = sum(row.repeats is not None for row in data.trials)
    repeats = f"{plural(n_repeats, 'trial')} repeated an earlier one and took its result without training."
    drawn = figure(plots_search.cost(data.trials), "What more time and larger models buy.")
    return join(
        [
            _times(data.trials, timed) if timed else missing("No trial has been timed yet."),
            note(repeats) if n_repeats else Html(),
            drawn if timed and svg.judged(data.trials) else Html(),
            figure(plots_search.timeline(data.trials), "When each trial ran.") if ran else Html(),
        ]
    )


def parameters_by_weight(data: ReportData) -> list[str]:
    """Return the parameters that varied: the most important first, then the most used."""
    judged = svg.judged(data.trials)
    uses = Counter(name for row in judged for name in row.params)
    varied = [name for name in uses if len({repr(row.params.get(name)) for row in judged}) > 1]
    shares = data.importances[0].shares if data.importances else {}
    return sorted(varied, key=lambda name: (-shares.get(name, 0.0), -uses[name], name))


def _role(role: RoleCount) -> tuple[str, ...]:
    counts = (role.n_positive, role.n_negative, role.n_images)
    share = percent(role.n_positive / role.n_images)
    return (role.role, *map(count, counts), share, count(role.n_groups), count(role.n_positive_groups))


def _rejected(flow: DataFlow) -> Html:
    if not flow.rejected:
        return Html()
    cut = f" The first {N_REJECTED}:" if len(flow.rejected) > N_REJECTED else ""
    title = f"{plural(len(flow.rejected), 'file')} could not be used.{cut}"
    return details(title, table(("file", "reason"), flow.rejected[:N_REJECTED], label="Files that could not be used"))


def _importance(found: Importance) -> Html:
    if not found.shares:
        return missing(f"Importance for {found.target}: {found.reason}.")
    return figure(plots_parameters.importance(found))


def _parallel(data: ReportData) -> Html:
    parameters = parameters_by_weight(data)
    if not parameters:
        return Html()
    n, n_shown = len(parameters), min(len(parameters), plots_parameters.MAX_AXES)
    which = "most important" if data.importances and data.importances[0].shares else "first"
    over = f"the {n_shown} {which} of {n} parameters" if n_shown < n else plural(n, "parameter")
    caption = (
        f"One line a trial, over {over} that varied. Blue meets the ceiling, orange misses it, grey was pruned, black "
        "is the trial shown here."
    )
    return figure(plots_parameters.parallel(data.trials, parameters, data.metric_names[0], data.shown), caption)


def _times(trials: Sequence[TrialRow], timed: Sequence[TrialRow]) -> Html:
    total = sum(row.seconds or 0.0 for row in timed)
    began, ended = [row.began for row in trials if row.began], [row.ended for row in trials if row.ended]
    pairs = [("time of all trials, failed ones included", duration(total))]
    if began and ended:
        pairs.append(("from the first start to the last end", duration((max(ended) - min(began)).total_seconds())))
    body = []
    for state in ("feasible", "infeasible", "pruned", "failed"):
        mine = [row.seconds or 0.0 for row in timed if row.state == state]
        if mine:
            share = percent(sum(mine) / total) if total else "–"
            name = STATE_WORDS[state]
            body.append((name, count(len(mine)), duration(sum(mine)), share, duration(sum(mine) / len(mine))))
    return join([facts(pairs), table(("trials", "number", "time", "share", "mean"), body, label="Time by outcome")])


def best_table(trials: Sequence[TrialRow]) -> Html:
    if not trials:
        return missing("No trial is complete.")
    own = _own(trials)
    return table((*_HEAD, *own), [(*_cells(row), *_own_cells(row, own)) for row in trials], label="Best trials")


def all_trials_table(trials: Sequence[TrialRow]) -> Html:
    """Return all trials with their settings."""
    own = _own(trials)
    shown = [(*_cells(row), *_own_cells(row, own), _settings(row)) for row in trials[:MAX_ROWS]]
    cut = note(f"The first {MAX_ROWS} of {len(trials)}.") if len(trials) > MAX_ROWS else Html()
    return join([table((*_HEAD, *own, "settings"), shown, class_="small", label="All trials"), cut])


def pruned_table(trials: Sequence[TrialRow]) -> Html:
    """Return where each trial was pruned or paused, and how far it had come."""
    head = ("trial", "", "stopped after epoch", "value then", "best recall", "training")
    whole = table(head, map(_pruned_cells, trials), label="Pruned trials")
    return whole if len(trials) <= FOLD else details(f"{len(trials)} pruned trials", whole)


def rungs_table(counts: Sequence[RungCount]) -> Html:
    """Return how many configurations reached each rung of cheap trials, and how many continued."""
    head = ("rung", "of the image size", "epochs", "paused", "of them continued")
    body = [
        (str(index), f"{c.scale:g}", str(c.epochs), str(c.n_reached), str(c.n_promoted))
        for index, c in enumerate(counts, start=1)
    ]
    return table(head, body, label="Rungs")


def failed_table(trials: Sequence[TrialRow]) -> Html:
    """Return the reasons, the most frequent first, each with the last message."""
    by_reason = Counter(row.failure for row in trials)
    body = [
        _reason_cells(reason, [row for row in trials if row.failure == reason]) for reason, _ in by_reason.most_common()
    ]
    return table(("reason", "trials", "which", "message of the last"), body, label="Failures")


def _cells(row: TrialRow) -> tuple[str, ...]:
    m = row.metrics
    ceiling = None if m is None or row.constraint is None else m.fnr - row.constraint
    found_share = None if ceiling is None else 1 - ceiling
    rates = (
        (percent(m.recall, beside=found_share), percent(m.fnr, beside=ceiling), percent(m.specificity))
        if m
        else ("–",) * 3
    )
    areas = tuple(f"{value:.4f}" for value in (m.auc, m.pauc, m.threshold)) if m else ("–",) * 3
    state = tag("span", STATE_WORDS[row.state], class_=f"state {row.state}")
    weights = count(row.n_parameters) if row.n_parameters is not None else "–"
    return (str(row.number), state, *rates, *areas, _took(row), weights)


def _own(trials: Sequence[TrialRow]) -> list[str]:
    """Return the names of the study's own metrics."""
    return sorted({name for row in trials for name in row.own_metrics})


def _own_cells(row: TrialRow, names: Sequence[str]) -> list[str]:
    return [scalar(row.own_metrics[name]) if name in row.own_metrics else "–" for name in names]


def _settings(row: TrialRow) -> str:
    return ", ".join(f"{name}={scalar(value)}" for name, value in row.params.items())


def _pruned_cells(row: TrialRow) -> tuple[str, ...]:
    last = max(row.reported, default=None)
    stopped = ("–", "–") if last is None else (str(last + 1), f"{row.reported[last]:.4f}")
    recall = percent(row.metrics.recall) if row.metrics else "–"
    how = f"paused at {row.paused_px} px" if row.paused_px else STATE_WORDS[row.state]
    return (str(row.number), how, *stopped, recall, _took(row))


def _reason_cells(reason: str, mine: Sequence[TrialRow]) -> tuple[str, ...]:
    return reason, count(len(mine)), _numbers(mine), tag("span", mine[-1].message or "no message", class_="message")


def _numbers(trials: Iterable[TrialRow]) -> str:
    found = [str(row.number) for row in trials]
    return ", ".join(found[:N_NUMBERS]) + (" …" if len(found) > N_NUMBERS else "")


def _took(row: TrialRow) -> str:
    return duration(row.seconds) if row.seconds is not None else "–"
