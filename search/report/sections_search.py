"""The search as a whole: data, history, what mattered, what was lost, what it cost."""

from collections import Counter
from collections.abc import Sequence

from pneumo_core.data.split import RoleCount
from search import objectives
from search.report import diagrams, marks, plots_parameters, plots_search, rows, tables
from search.report.data import DataFlow, Importance, ReportData, TrialRow
from search.report.markup import Html, details, facts, figure, join, missing, note, paragraph, table, tag
from search.report.numbers import STATE_WORDS, count, duration, percent, plural

N_REJECTED = 50  # unusable files named one by one
N_BEST = 10
NOTHING = "No trial has been judged yet."


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
    if not marks.judged(data.trials):
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
            tables.best(rows.top(data.trials, N_BEST)),
            details(f"All {plural(len(data.trials), 'trial')} with their settings", tables.every(data.trials)),
        ]
    )


def what_mattered(data: ReportData) -> Html:
    """Return importance and parallel coordinates."""
    if not marks.judged(data.trials):
        return missing(NOTHING)
    bars = [_importance(found) for found in data.importances]
    how = (
        f"PED-ANOVA over {plural(data.summary.n_complete, 'complete trial')}: how differently a parameter is set in "
        "the best tenth, for feasibility in the tenth that stays furthest under the ceiling. Below 50 trials, a hint."
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
            tables.pruned(pruned) if pruned else paragraph("No trial was pruned."),
            tag("h3", f"Failed: {len(failed)}"),
            tables.failed(failed) if failed else paragraph("No trial failed."),
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
    return join([tag("h3", "Cheap trials first"), tables.rungs(data.summary.rungs), note(how)])


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
            drawn if timed and marks.judged(data.trials) else Html(),
            figure(plots_search.timeline(data.trials), "When each trial ran.") if ran else Html(),
        ]
    )


def parameters_by_weight(data: ReportData) -> list[str]:
    """Return the parameters that varied: the most important first, then the most used."""
    judged = marks.judged(data.trials)
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
