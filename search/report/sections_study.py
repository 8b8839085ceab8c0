"""What the study is, and what everything ran on."""

from collections import Counter

from search.report.data import ReportData
from search.report.markup import Html, facts, join, missing, paragraph, table, tag
from search.report.numbers import percent, plural, scalar

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
        "95 %. Proportions: Wilson, by image. Areas and margins: bootstrap over patients; it can't see what these "
        "images never show, so beside a perfect figure it shrinks to a point and says little.",
    ),
)


def definition(data: ReportData) -> Html:
    """Return the study as it was declared, with the settings of the shown trial."""
    d, objective, shown = data.definition, data.objective, data.shown
    goal = {
        "objective": objective.kind,
        "FNR ceiling": percent(objective.fnr_ceiling),
        "specificity floor": percent(objective.specificity_floor),
    }
    ends = {"storage": data.summary.storage, "test role opened": plural(data.n_openings, "time")}
    settings = shown.params if shown else {}
    space = d.space or dict.fromkeys(settings, "")
    body = [(name, text, scalar(settings[name]) if name in settings else "–") for name, text in space.items()]
    return join(
        [
            paragraph(d.description) if d.description else Html(),
            facts((goal | dict(d.facts) | ends).items()),
            tag("h3", "Search space"),
            table(("parameter", "values", f"trial {shown.number}" if shown else ""), body),
        ]
    )


def environment(data: ReportData) -> Html:
    """Return what the trials ran on, and what made this page."""
    ran = Counter(tuple(sorted((k, v) for k, v in row.environment.items() if k != _VARIES)) for row in data.trials)
    kinds = [(dict(found), n) for found, n in ran.most_common() if found]
    names = sorted({name for found, _ in kinds for name in found})
    body = [(plural(n, "trial"), *(found.get(name, "–") for name in names)) for found, n in kinds]
    made = data.made_at.strftime("%Y-%m-%d %H:%M %Z")
    return join(
        [
            table(("", *names), body) if body else missing("No trial has told its environment yet."),
            tag("h3", "This report"),
            facts([*data.versions.items(), ("made", made)]),
        ]
    )


def words(_: ReportData) -> Html:
    """Return what the page's words mean."""
    return tag("dl", *(tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in _WORDS), class_="words")
