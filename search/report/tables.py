"""Tables of trials."""

from collections import Counter
from collections.abc import Iterable, Sequence

from search.records import RungCount
from search.report.data import TrialRow
from search.report.markup import Html, details, join, missing, note, table, tag
from search.report.numbers import STATE_WORDS, count, duration, percent, scalar

FOLD = 12  # rows from which a table is folded
MAX_ROWS = 1000  # of the table of all trials
N_NUMBERS = 30  # trial numbers named one by one
_HEAD = ("trial", "", "recall", "FNR", "specificity", "AUC", "partial AUC", "threshold", "training", "weights")


def best(trials: Sequence[TrialRow]) -> Html:
    if not trials:
        return missing("No trial is complete.")
    own = _own(trials)
    return table((*_HEAD, *own), [(*_cells(row), *_own_cells(row, own)) for row in trials], label="Best trials")


def every(trials: Sequence[TrialRow]) -> Html:
    """Return all trials with their settings."""
    own = _own(trials)
    shown = [(*_cells(row), *_own_cells(row, own), _settings(row)) for row in trials[:MAX_ROWS]]
    cut = note(f"The first {MAX_ROWS} of {len(trials)}.") if len(trials) > MAX_ROWS else Html()
    return join([table((*_HEAD, *own, "settings"), shown, class_="small", label="All trials"), cut])


def pruned(trials: Sequence[TrialRow]) -> Html:
    """Return where each trial was pruned or paused, and how far it had come."""
    head = ("trial", "", "stopped after epoch", "value then", "best recall", "training")
    whole = table(head, map(_pruned_cells, trials), label="Pruned trials")
    return whole if len(trials) <= FOLD else details(f"{len(trials)} pruned trials", whole)


def rungs(counts: Sequence[RungCount]) -> Html:
    """Return how many configurations reached each rung of cheap trials, and how many went on."""
    head = ("rung", "of the image size", "epochs", "paused", "of them continued")
    body = [
        (str(index), f"{c.scale:g}", str(c.epochs), str(c.n_reached), str(c.n_promoted))
        for index, c in enumerate(counts, start=1)
    ]
    return table(head, body, label="Rungs")


def failed(trials: Sequence[TrialRow]) -> Html:
    """Return the reasons, the most frequent first, each with the last message."""
    by_reason = Counter(row.failure for row in trials)
    body = [
        _reason_cells(reason, [row for row in trials if row.failure == reason]) for reason, _ in by_reason.most_common()
    ]
    return table(("reason", "trials", "which", "message of the last"), body, label="Failures")


def _cells(row: TrialRow) -> tuple[str, ...]:
    m = row.metrics
    rates = (percent(m.recall), percent(m.fnr), percent(m.specificity)) if m else ("–",) * 3
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
