"""The shown trial: performance, errors as images, and the baselines beside it."""

from collections.abc import Callable, Mapping, Sequence

from pneumo_core.result import Layer
from search.report import diagrams, plots_model
from search.report.data import Compared, Estimate, Gallery, ImageCard, Leaning, Performance, ReportData
from search.report.diagrams import n_trained
from search.report.markup import (
    Html,
    area,
    count,
    details,
    figure,
    image,
    join,
    limit,
    margin,
    missing,
    note,
    paragraph,
    percent,
    plural,
    scalar,
    share,
    table,
    tag,
)
from search.report.performance import MEASURES

_FIGURES = {
    "recall": "recall",
    "fnr": "FNR",
    "specificity": "specificity",
    "ppv": "positive predictive value",
    "npv": "negative predictive value",
    "accuracy": "accuracy",
}


def network(data: ReportData) -> Html:
    """Return the shown trial's network, layer by layer."""
    result = data.results.get(data.shown.number) if data.shown else None
    if result is None or not result.layers:
        return missing("No network is kept with this trial: it has not ended, ran elsewhere, or with an older version.")
    layers = result.layers
    trained = f"{count(n_trained(layers))} of {plural(result.n_parameters, 'parameter')} are in layers that train"
    caption = f"From image to score: {trained}. The width of a box shows the side of its maps."
    whole = table(("layer", "kind", "gives", "parameters"), map(_layer, layers), class_="long", label="Layers")
    return join([figure(diagrams.network(layers), caption), details(f"All {len(layers)} layers as a table", whole)])


def _layer(layer: Layer) -> tuple[str, ...]:
    return layer.name, layer.kind, " × ".join(map(str, layer.shape)) or "–", count(layer.n_parameters)


def performance(data: ReportData) -> Html:
    """Return ROC, confusion, scores, calibration, decision and training of the shown trial."""
    found = data.performance
    if found is None:
        return join([missing(data.no_data or data.no_performance), _training(data)])
    region = (
        "The shaded rectangle holds the true point of this threshold with 95 % confidence, had these images chosen "
        "nothing (two Clopper–Pearson intervals)."
    )
    matrix = tag("div", tag("h3", "Confusion matrix"), _confusion(found, _classes(data)), _kinds(found))
    figures = tag("div", tag("h3", "All figures"), _figures(found, data.objective.fnr_ceiling))
    twice = (
        "Trials of this study are judged on each image twice: as it is, and under one fixed shift. So are the figures "
        "here; intervals allow for it. Errors and baselines below are of the images as they are."
    )
    return join(
        [
            note(twice) if data.is_shifted else Html(),
            figure(plots_model.roc(found.y, found, data.objective, data.compared), region),
            tag("div", matrix, figures, class_="pair"),
            _scores(found, _classes(data)),
            _training(data),
        ]
    )


def errors(data: ReportData) -> Html:
    """Return the galleries of wrong calls."""
    if data.missed is None or data.false_alarms is None:
        return missing(data.no_data or data.no_performance)
    negative, positive = _classes(data)
    as_they_are = " among the images as they are" if data.is_shifted else ""
    return join(
        [
            tag("h3", f"Missed{as_they_are}: {plural(data.missed.n, 'false negative')}"),
            _gallery(data.missed, f"{positive} that the trial calls {negative}; lowest score, the surest miss, first."),
            tag("h3", f"False alarms{as_they_are}: {plural(data.false_alarms.n, 'false positive')}"),
            _gallery(data.false_alarms, f"{negative} that the trial calls {positive}; highest score first."),
        ]
    )


def baselines(data: ReportData) -> Html:
    """Return the shown trial beside models that should be easy to beat."""
    if not data.compared:
        return missing(data.no_data or data.no_performance)
    floor, ceiling = percent(data.objective.specificity_floor, 0), limit(data.objective.fnr_ceiling)
    head = ("model", "AUC", f"recall at specificity ≥ {floor}", f"specificity at FNR ≤ {ceiling}")
    by_fold = f"and scored by patient-grouped folds, {data.n_folds} of them"
    fitted = "on the train role, scored on validation" if data.n_folds is None else by_fold
    how = (
        f"Fitted {fitted}. Intervals: 95 %, of AUC and of margins from 2 000 resamples of patients, margins "
        "with both models on the same resample. Every threshold follows its model's own scores here, the trial's too."
    )
    if data.is_shifted:
        how += " All rows are of the images as they are, the trial's too; its figures above are of both."
    values = [_compared(row, row.estimates, _value) for row in data.compared]
    margins = [_compared(row, row.margins, _margin) for row in data.compared[1:]]
    return join(
        [
            paragraph(beaten(data.compared)),
            table(head, values, label="The trial and the baselines"),
            tag("h3", "Margin of the trial over each"),
            table(head, margins, label="Margins"),
            note(how),
        ]
    )


def shortcuts(data: ReportData) -> Html:
    """Return how far the shown trial's scores follow facts of the images that are no disease."""
    if not data.leanings:
        return missing(data.no_leanings or data.no_data or data.no_performance)
    classes = _classes(data)
    head = ("fact of the image", "predicts the class, AUC", *(f"within {name}" for name in classes))
    how = (
        "Sharpness and brightness at one size, aspect (width over height) of the original. Within a class: Spearman's "
        "rank correlation of score and fact, its 95 % interval from resamples of patients; 0: the score does not "
        "depend on it. Disease changes sharpness and brightness a little, so a correlation is a reason to look, and "
        "none is no proof. docs/shortcuts.md says what breaks each; more facts: "
    )
    return join(
        [
            paragraph(leaning_words(data.leanings, classes)),
            figure(plots_model.leanings(data.leanings, classes)),
            table(head, [_leaning(one) for one in data.leanings], label="Scores against facts of the images"),
            note(how, tag("code", "pneumo data check"), "."),
        ]
    )


def leaning_words(found: Sequence[Leaning], classes: tuple[str, str]) -> str:
    """Say which facts the scores follow within a class towards what the other class looks like."""
    among = {one.fact: [classes[label] for label in (0, 1) if one.follows(label)] for one in found}
    followed = [f"{fact} (among {' and '.join(names)})" for fact, names in among.items() if names]
    if not followed:
        return "Within each class the trial's scores follow none of these facts as a shortcut would make them."
    return (
        f"The trial's scores still follow {', '.join(followed)}: there, images that look like the other class in this "
        "respect get scores nearer to it."
    )


def _leaning(one: Leaning) -> list[str]:
    within = [one.within.get(label) for label in (0, 1)]
    return [one.fact, f"{one.class_auc:.3f}", *(margin(found, 2) if found else "all alike" for found in within)]


def beaten(compared: Sequence[Compared]) -> str:
    """Say over which baselines the margin in AUC is above 0 with confidence."""
    close = [row.name for row in compared[1:] if row.margins["auc"].interval.low <= 0]
    if not close:
        return "In AUC the trial is ahead of every trivial baseline beyond noise."
    return f"In AUC the trial is not ahead beyond noise of: {', '.join(close)}."


def _scores(found: Performance, classes: tuple[str, str]) -> Html:
    quality = (
        f"Calibration. Brier score {found.assessment.brier:.4f}, calibration error {found.assessment.ece:.4f}. "
        "Class weights shift scores: a threshold is not a probability."
    )
    benefit = "Decision curve (Vickers & Elkin 2006) at the prevalence of these images, which need not be a clinic's."
    return tag(
        "div",
        figure(
            plots_model.scores(found.y, found, classes),
            "Scores by class; what lies on the wrong side is an error.",
        ),
        figure(plots_model.calibration(found.y, found), quality),
        figure(plots_model.decision(found.y, found), benefit),
        class_="trio",
    )


def _training(data: ReportData) -> Html:
    if not data.results:
        return Html()
    shown = data.shown.number if data.shown else None
    caption = "Training curves of the top trials; a dot marks the epoch whose weights were kept."
    if data.n_folds is not None:
        caption = "The folds of the top trials, each at its own best epoch."
    return join([tag("h3", "Training"), figure(plots_model.training(data.results, shown), caption)])


def _classes(data: ReportData) -> tuple[str, str]:
    return (data.flow.negative, data.flow.positive) if data.flow else ("negative", "positive")


def _confusion(found: Performance, classes: tuple[str, str]) -> Html:
    c, (negative, positive) = found.assessment.confusion, classes
    head = tag("tr", tag("td", ""), *(tag("th", f"called {name}", scope="col") for name in (positive, negative)))
    ill = _confusion_row(positive, (c.true_positive, "found", "hit"), (c.false_negative, "missed", "miss"))
    well = _confusion_row(
        negative, (c.false_positive, "false alarm", "miss light"), (c.true_negative, "cleared", "hit light")
    )
    return tag("table", tag("thead", head), tag("tbody", ill, well), class_="confusion")


def _confusion_row(name: str, *cells: tuple[int, str, str]) -> Html:
    drawn = [tag("td", tag("b", str(n)), tag("span", word), class_=look) for n, word, look in cells]
    return tag("tr", tag("th", f"is {name}", scope="row"), *drawn)


def _kinds(found: Performance) -> Html:
    if not found.recall_by_kind:
        return Html()
    return table(
        ("kind", "recall"),
        [(name, share(estimate)) for name, estimate in found.recall_by_kind.items()],
        label="Recall by kind",
    )


def _figures(found: Performance, ceiling: float) -> Html:
    limits = {"recall": 1 - ceiling, "fnr": ceiling}
    body: list[tuple[str, str]] = [
        (label, share(found.estimates.get(key), limits.get(key))) for key, label in _FIGURES.items()
    ]
    body += [
        ("ill patients with a missed image", share(found.patients_missed)),
        ("AUC", area(found.estimates["auc"])),
        ("partial AUC", area(found.estimates["pauc"])),
        ("threshold", scalar(found.threshold)),
    ]
    return table((), body, label="All figures")


def _gallery(found: Gallery, caption: str) -> Html:
    if not found.cards:
        return paragraph("None.")
    cut = f" {len(found.cards)} of {found.n} are shown." if len(found.cards) < found.n else ""
    return join([note(caption + cut), tag("div", *map(_card, found.cards), class_="gallery")])


def _card(card: ImageCard) -> Html:
    pictures = [image(card.jpeg, f"{card.name}, score {card.score:.3f}", "jpeg")]
    if card.overlay:
        pictures.append(image(card.overlay, f"{card.name}: where the model looked"))
    caption = tag("figcaption", tag("b", f"{card.score:.3f}"), f" {card.kind}", tag("span", card.name, title=card.name))
    return tag("figure", *pictures, caption)


def _compared(row: Compared, found: Mapping[str, Estimate], say: Callable[[str, Estimate], Html]) -> list[str]:
    name = join([row.name, tag("span", row.what, class_="what")]) if row.what else row.name
    return [name, *(say(key, found[key]) for key in MEASURES)]


def _value(key: str, estimate: Estimate) -> Html:
    return area(estimate) if key == "auc" else share(estimate)


def _margin(_key: str, estimate: Estimate) -> Html:
    return margin(estimate)
