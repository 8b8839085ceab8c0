"""The model card of a bundle, in Markdown: its purpose, its data, its figures, its limits.

The sections are those of Mitchell et al. (2019, "Model cards for model reporting"); a table maps them to the items of
TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378) and CLAIM (Tejani et al. 2024, Radiology: AI 6:e240300).
"""

import json
from collections.abc import Sequence

from pneumo_core import markdown
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.bundles.promise import promise
from pneumo_core.data.split import LEAK_WARNING
from search import objectives
from search.finalizing import card_results
from search.finalizing.card_facts import Facts


def card(bundle: Bundle, known: Facts) -> str:
    """Return the card of `bundle`; one that never opened the test role is that of a single trial, uncertified."""
    if not bundle.test:
        return _titled(bundle, _uncertified(bundle, known))
    sections = (
        ("Model", _model(bundle)),
        ("Intended use", _use(bundle)),
        ("Data and population", _data(bundle, known)),
        ("How it was found", _search(bundle, known)),
        ("Threshold and guarantee", _threshold(bundle)),
        ("Results on the test role", card_results.results(bundle, is_phantom=known.is_phantom)),
        ("The threshold on changed images", card_results.under_shifts(bundle)),
        ("Limits", _limits(bundle, known)),
        ("Where reporting items are answered", _items()),
        ("How to use it", _how(bundle)),
    )
    return _titled(bundle, sections)


def _titled(bundle: Bundle, sections: Sequence[tuple[str, str]]) -> str:
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections)
    return f"{_header(bundle)}\n# Model card: {bundle.study}\n\n{body}\n"


def _header(bundle: Bundle) -> str:
    """Return the card's metadata as Hugging Face reads it; licence and base model are for the owner to add."""
    figures = {"recall": "recall", "specificity": "specificity", "roc_auc": "auc", "accuracy": "accuracy"}
    measured = [{"type": kind, "value": bundle.test[key]} for kind, key in figures.items() if bundle.test]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": f"test role of study {bundle.study}", "type": "chest-x-ray"},
        "metrics": measured,
    }
    certified = "uncertified" if bundle.guarantee == "none" else "certified"
    fields = {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["chest-x-ray", "medical", "pneumo-search", certified],
        "metrics": list(figures),
        **({"model-index": [{"name": bundle.study, "results": [result]}]} if measured else {}),
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---"])


def _uncertified(bundle: Bundle, known: Facts) -> tuple[tuple[str, str], ...]:
    """Return the sections of a card for the model of one trial."""
    found, trial = bundle.selection["validation"], bundle.members[0].trial
    rows = [(name, markdown.number(value)) for name, value in found.items()]
    return (
        ("Model", _model(bundle)),
        ("Intended use", _use(bundle)),
        ("Data and population", f"{_population(known)}\n\nTrained on the train role; calibration and test unopened."),
        (
            "Threshold and guarantee",
            f"{promise(bundle)} It is {bundle.threshold:.6g}. `pneumo finalize` certifies one and measures on test.",
        ),
        (
            "Results on validation",
            f"Trial {trial} was chosen by hand among those of a search. The images below stopped its training and set "
            "its threshold, so these figures only rank trials:\n\n"
            f"{markdown.table(('figure', 'value'), rows)}",
        ),
        ("Limits", _limits(bundle, known)),
        ("How to use it", _how(bundle)),
    )


def _model(bundle: Bundle) -> str:
    rows = [
        (
            f"`{m.file}`",
            str(m.trial),
            m.spec.model.kind,
            f"{m.data.image_size_px} px, {m.data.channels} channel(s), {m.data.resize}",
            f"`{m.spec.digest}`",
        )
        for m in bundle.members
    ]
    combined = "\nThe score of an image is the sigmoid of the mean of the networks' logits.\n" if len(rows) > 1 else ""
    return (
        f"Distinguishes `{bundle.positive}` from `{bundle.negative}` on chest X-rays. Made {bundle.created} by study "
        f"`{bundle.study}`. The score is in [0, 1]; it is no calibrated probability.\n\n"
        f"{markdown.table(('file', 'trial', 'network', 'preprocessing', 'spec'), rows)}\n{combined}\n"
        f"Environment: {', '.join(f'{k} {v}' for k, v in sorted(bundle.environment.items()))}."
    )


def _use(bundle: Bundle) -> str:
    return (
        "Research on methods for reading chest X-rays. **Not a medical device**: it has not been assessed or approved "
        "for diagnosis, triage or any other decision on a patient, and must not be used for one.\n\n"
        f"Out of scope: other findings than `{bundle.positive}`, other examinations, other views, and people unlike "
        "those described below."
    )


def _data(bundle: Bundle, known: Facts) -> str:
    data = bundle.fingerprint.get("data", {})
    rows = [(r.role, str(r.n_negative), str(r.n_positive), str(r.n_groups)) for r in known.roles]
    roles = markdown.table(("role", f"{bundle.negative} images", f"{bundle.positive} images", "patient groups"), rows)
    notes = [*known.split_notes, *([f"{known.n_rejected} unreadable files set aside"] if known.n_rejected else [])]
    return (
        f"{_population(known)}\n\n{roles}\n\n"
        "Train fits the weights; validation stops training and ranks trials; calibration sets the threshold and "
        "nothing else; test was opened for the results below. Near-duplicates count as one patient group."
        + "".join(f"\n- {note}" for note in notes)
        + f"\n\nData fingerprint `{data.get('digest', '?')}` ({data.get('images', '?')} images)."
    )


def _population(known: Facts) -> str:
    if known.is_kermany:
        return (
            "Population: children of 1 to 5 years, frontal (anterior-posterior) views taken in routine care at one "
            "hospital, the Guangzhou Women and Children's Medical Center. Labels by two physicians, checked by a third "
            "in part (Kermany et al. 2018, Cell 172:1122). Recognised by the names of the files.\n\n"
            "Licence: CC BY 4.0 (Mendeley Data, doi:10.17632/rscbjbr9sj)."
        )
    if known.is_phantom:
        return (
            "Population: none. These are synthetic drawings; nothing learnt on them says anything about patients.\n\n"
            "Licence: generated by this program."
        )
    return "Population: unknown. Licence: unknown. Add both here before passing this bundle on."


def _search(bundle: Bundle, known: Facts) -> str:
    options, chosen = bundle.selection.get("options", {}), bundle.selection.get("members", [])
    space = markdown.table(("parameter", "range"), [(f"`{name}`", value) for name, value in known.space.items()])
    rows = [(str(m["trial"]), markdown.number(m["value_in_search"])) for m in chosen]
    gain = bundle.selection.get("gain_of_averaging")
    gained = (
        f"\nGain of averaging on validation (threshold-free metric, interval over patients): {gain['mean']:+.4f} "
        f"({gain['low']:+.4f} to {gain['high']:+.4f})\n"
        if gain
        else ""
    )
    rule = (
        f"the best trial was trained again on {len(chosen)} patient-grouped folds of train and validation"
        if options.get("retrain")
        else f"the networks that the best {options.get('members', '?')} feasible trials left, averaged unless that is "
        "worse than the best alone beyond noise"
    )
    judged = f", under {len(bundle.objective.shifts)} shifts as well" if bundle.objective.shifts else ""
    definition = known.definition
    return (
        f"Objective: `{bundle.objective.kind}`, FNR ceiling {bundle.objective.fnr_ceiling:g}, specificity floor "
        f"{bundle.objective.specificity_floor:g}. Sampler {definition.get('sampler', '?')}, pruner "
        f"{definition.get('pruner', '?')}, budget {definition.get('trials', '?')} trials: {known.n_complete} complete, "
        f"{known.n_pruned} pruned, {known.n_failed} failed.\n\n"
        f"Search space:\n\n{space}\n\n"
        f"Trials were ranked on validation{judged}. Members: {rule}.\n\n"
        f"{markdown.table(('trial', ', '.join(objectives.of(bundle.objective).values)), rows)}\n{gained}"
    )


def _threshold(bundle: Bundle) -> str:
    c = bundle.calibration
    certificates = "\n".join(f"- {certificate}" for certificate in bundle.certificates.values())
    return (
        f"An image is called `{bundle.positive}` when its score is at least **{bundle.threshold:.6g}**.\n\n"
        f"{promise(bundle)}\n\n"
        f"Calibration: {c.n_images} images of {c.n_patients} patient groups; {c.n_positive_images} positive images of "
        f"{c.n_positive_patients} patient groups.\n\n{certificates}\n\n"
        "Method: Neyman–Pearson umbrella (Tong, Feng & Li 2018), one candidate, chosen before calibration. By patient, "
        "a patient is missed when any of their positive images is.\n\n"
        "Assumptions: future positive patients are drawn as those of the calibration role were; patients (by image: "
        "images) are independent; calibration chose nothing but the threshold; labels are taken as right. The "
        "guarantee doesn't cover specificity, subgroups, or another hospital, age, device or image export."
    )


def _limits(bundle: Bundle, known: Facts) -> str:
    lines = [
        "Evaluated on images of the same source as it was trained on: no external validation.",
        "Scores are not calibrated probabilities; a network can learn from anything that differs between the classes, "
        "also from how files were made.",
        "Not assessed for fairness: the data name neither sex nor origin.",
    ]
    if known.is_kermany:
        lines.append("Children of 1 to 5 years from one hospital: not valid for adults or other places.")
    if known.is_phantom:
        lines.append("Trained on drawings: of no use on any radiograph.")
    if known.leaks:
        lines.append(f"{LEAK_WARNING}.")
    if bundle.guarantee == "none":
        lines.append("The threshold is not certified.")
    if bundle.n_test_openings > 1:
        lines.append(f"The test images were opened {bundle.n_test_openings} times: figures after a look are too good.")
    if bundle.n_calibration_uses > 1:
        lines.append(
            f"The calibration images set the thresholds of {bundle.n_calibration_uses} bundles: choosing "
            "one of them by its certified figures lowers the stated confidence."
        )
    return "\n".join(f"- {line}" for line in lines)


def _items() -> str:
    return markdown.table(("section", "TRIPOD+AI", "CLAIM 2024"), ITEMS)


def _how(bundle: Bundle) -> str:
    return (
        "```\npneumo predict BUNDLE FILE... --json     # JPEG, PNG, TIFF, WebP, BMP, JPEG 2000, DICOM\n"
        "pneumo evaluate BUNDLE DIR --json        # a folder with "
        f"{bundle.negative}/ and {bundle.positive}/\n```\n\n"
        "Preprocessing travels inside: give raw files. Files of this folder are checked by digest before each use."
    )


ITEMS = (
    ("Model", "15 (output), 22 (specification)", "22 to 24 (model, software, initialisation)"),
    ("Intended use", "3a, 3b (context, purpose)", "4 (objectives), 41 (implications for practice)"),
    ("Data and population", "5a, 6a, 6b, 8a, 12a, 20a, 21", "7 to 10, 13, 14, 16, 19, 20, 35, 36"),
    ("How it was found", "12c (building, tuning, validation)", "25 to 27 (training, selection, ensembling)"),
    ("Threshold and guarantee", "12e, 15 (measures, thresholds)", "28, 29 (metrics, uncertainty)"),
    (
        "Results on the test role",
        "12e, 23a, 23b (performance, heterogeneity)",
        "32, 37, 38 (internal testing, precision)",
    ),
    ("Limits", "3c, 14, 16, 26 (fairness, differences, limitations)", "33, 40 (external testing, limitations)"),
    ("How to use it", "27a, 27b (input quality, interaction)", "43 (availability)"),
)
