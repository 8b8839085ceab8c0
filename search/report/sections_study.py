"""What the study is and came to, what everything ran on, and the bundle that `finalize` made of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from pneumo_core.bundles.bundle import Bundle
from pneumo_core.scoring.shifted import ShiftFigures, spoken, worst
from search.report.data import Estimate, ReportData, TrialRow
from search.report.markup import (
    Html,
    duration,
    facts,
    join,
    limit,
    missing,
    note,
    paragraph,
    percent,
    percent_range,
    plural,
    scalar,
    table,
    tag,
)
from search.watching.describe import describe_tied

_VARIES = "checkpoint"  # of the environment: belongs to a trial, not to what it ran on

_WORDS = (
    ("Recall (sensitivity)", "share of ill people who are found. FNR = 1 − recall: the share who are missed."),
    ("Specificity", "share of healthy people who are cleared."),
    ("Threshold", "an image is called ill when its score is at or above it."),
    (
        "AUC",
        "chance that an ill image scores above a healthy one; 0.5 is guessing. Partial AUC looks only at the part "
        "of the curve under the FNR ceiling.",
    ),
    (
        "Intervals",
        "95 %, the same for a figure wherever it is shown, with several images of one patient allowed for. "
        "Proportions: Wilson with the effective number of images. Areas and margins: bootstrap over patients; it "
        "cannot see what these images never show, so beside a perfect figure it shrinks to a point and says little.",
    ),
)


def definition(data: ReportData) -> Html:
    """Return the study as it was declared, with the settings of the shown trial."""
    d, objective, shown = data.definition, data.objective, data.shown
    goal = {
        "objective": objective.kind,
        "FNR ceiling": limit(objective.fnr_ceiling),
        "specificity floor": limit(objective.specificity_floor),
    }
    ends = {"storage": _shared(data.summary.storage), "test role opened": plural(data.n_openings, "time")}
    settings = shown.params if shown else {}
    space = d.space or dict.fromkeys(settings, "")
    body = [(name, text, scalar(settings[name]) if name in settings else "–") for name, text in space.items()]
    return join(
        [
            paragraph(d.description) if d.description else Html(),
            facts((goal | dict(d.facts) | ends).items()),
            tag("h3", "Search space"),
            table(("parameter", "values", f"trial {shown.number}" if shown else ""), body, label="Search space"),
        ]
    )


def _shared(storage: str) -> str:
    """Return the address of a database for other people's eyes: a SQLite file without its folders."""
    kind, _, path = storage.partition(":///")
    return f"{kind}: {PurePath(path).name}" if kind == "sqlite" else storage


def environment(data: ReportData) -> Html:
    """Return what the trials ran on, and what made this page."""
    ran = Counter(tuple(sorted((k, v) for k, v in row.environment.items() if k != _VARIES)) for row in data.trials)
    kinds = [(dict(found), n) for found, n in ran.most_common() if found]
    names = sorted({name for found, _ in kinds for name in found})
    body = [(plural(n, "trial"), *(found.get(name, "–") for name in names)) for found, n in kinds]
    made = data.made_at.strftime("%Y-%m-%d %H:%M %Z")
    return join(
        [
            table(("", *names), body, label="Environment")
            if body
            else missing("No trial has reported its environment yet."),
            tag("h3", "This report"),
            facts([*data.versions.items(), ("made", made)]),
        ]
    )


def words(_: ReportData) -> Html:
    """Return what the page's words mean."""
    return tag("dl", *(tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in _WORDS), class_="words")


def summary(data: ReportData) -> Html:
    """Return the verdict, the key figures, and the caveat that belongs to them."""
    return join(
        [
            verdict(data),
            _cards(data, data.shown) if data.shown and data.shown.metrics else Html(),
            _caveat(data) if data.shown else Html(),
            _progress(data),
        ]
    )


def verdict(data: ReportData) -> Html:
    """Say in one sentence whether the ceiling is met."""
    ceiling = f"the ceiling of {limit(data.objective.fnr_ceiling)} on the false-negative rate (FNR)"
    best, shown = data.best, data.shown
    if best and best.metrics:
        text = f"Trial {best.number} meets {ceiling} on {data.judged_on}: {_point(best, data)}."
        tied = data.summary.best and describe_tied(data.summary.best)
        text = f"{text} {tied}" if tied else text
        return paragraph(tag("strong", "Feasible. "), text, _bound(data), class_="verdict good")
    if shown and shown.metrics:
        text = (
            f"No trial meets {ceiling} yet. Nearest is trial {shown.number}: {_point(shown, data)}. It is shown below."
        )
        return paragraph(tag("strong", "No feasible trial. "), text, class_="verdict bad")
    n_failed = data.summary.n_failed
    counts = f"{plural(n_failed, 'trial')} failed" if n_failed else "no trial has finished yet"
    return paragraph(tag("strong", "No result. "), f"There is nothing to judge: {counts}.", class_="verdict bad")


def _point(row: TrialRow, data: ReportData) -> str:
    assert row.metrics is not None
    fnr = percent(row.metrics.fnr, beside=data.objective.fnr_ceiling)
    return f"FNR {fnr} at specificity {percent(row.metrics.specificity)}"


def _bound(data: ReportData) -> str:
    """Return what the images allow to say about the FNR beyond this sample."""
    if data.performance is None:
        return ""
    upper = data.performance.estimates["fnr"].interval.high
    reached = percent(upper, beside=data.objective.fnr_ceiling)
    enough = "which is" if upper <= data.objective.fnr_ceiling else "too few patients to show that it is"
    return f" Its 95 % interval reaches {reached}: {enough} under the ceiling, even if these images chose nothing."


def _cards(data: ReportData, row: TrialRow) -> Html:
    assert row.metrics is not None
    m, found, ceiling = row.metrics, data.performance, data.objective.fnr_ceiling
    known = found.estimates if found else {}
    cards = [
        _card("Recall", percent(m.recall, beside=1 - ceiling), _under(known.get("recall"))),
        _card("FNR (missed)", percent(m.fnr, beside=ceiling), _under(known.get("fnr"))),
        _card("Specificity", percent(m.specificity), _under(known.get("specificity"))),
        _card("AUC", f"{m.auc:.3f}", _range(known["auc"]) if found else ""),
        _card("Threshold", scalar(m.threshold), "trial " + str(row.number)),
    ]
    return tag("div", *cards, class_="cards")


def _card(name: str, value: str, under: str) -> Html:
    return tag("div", tag("span", name, class_="name"), tag("b", value), tag("span", under, class_="ci"), class_="card")


def _under(estimate: Estimate | None) -> str:
    return f"{percent_range(estimate)} · {estimate.hits} of {estimate.n}" if estimate else ""


def _range(estimate: Estimate) -> str:
    return f"{estimate.interval.low:.3f}–{estimate.interval.high:.3f}"


def _caveat(data: ReportData) -> Html:
    why = "" if data.performance else f" {data.no_data or data.no_performance}"
    return note(
        "The threshold was chosen and judged on the same images, among all trials: these figures rank trials, and are "
        "better than those on new patients will be. The threshold that ships is certified on calibration images by ",
        tag("code", "pneumo finalize"),
        f", which opens the test role once.{why}",
    )


def _progress(data: ReportData) -> Html:
    s = data.summary
    counts = {"complete": s.n_complete, "pruned": s.n_pruned, "failed": s.n_failed}
    busy = {word: n for word, n in (("running", s.n_running), ("waiting", s.n_waiting)) if n}
    states = ", ".join(f"{n} {word}" for word, n in (counts | busy).items())
    trained_s = sum(row.seconds or 0.0 for row in data.trials if row.repeats is None)
    live = " The search is still running: this is its state when the report was made." if s.n_running else ""
    return paragraph(f"{plural(len(data.trials), 'trial')}: {states}; {duration(trained_s)} of computing.{live}")


def under_shifts(data: ReportData) -> Html:
    """Return recall and specificity of the bundle under each shift, the worst in bold."""
    bundle = data.bundle
    if bundle is None or not bundle.under_shifts:
        return missing("No bundle was measured under shifts: `pneumo finalize` does it and writes this page again.")
    first = bundle.under_shifts[0]
    return join(
        [
            paragraph(
                f"At the threshold that `finalize` set, {bundle.threshold:.6g}, on {first.n_positive} positive and "
                f"{first.n_negative} negative images of the test role, as they are and each time changed in one fixed "
                f"way. {_covered(bundle)}"
            ),
            table(("images", "recall", "specificity"), _rows(bundle.under_shifts)),
        ]
    )


def _covered(bundle: Bundle) -> str:
    if bundle.shifts:
        return "The certificate covers these changes, one at a time, and no others."
    return "The certificate covers none of them: it is about images as they are."


def _rows(found: Sequence[ShiftFigures]) -> list[tuple[str, str, str]]:
    least_recall, least_specificity = worst(found)
    return [
        (
            spoken(f.shift),
            _cell(f.recall, f.recall_ci, f.shift == least_recall),
            _cell(f.specificity, f.specificity_ci, f.shift == least_specificity),
        )
        for f in found
    ]


def _cell(value: float, interval: Sequence[float], is_worst: bool) -> Html:
    figure = percent(value)
    low, high = (percent(end) for end in interval)
    return join([tag("strong", figure) if is_worst else Html(figure), f" ({low} to {high})"])
