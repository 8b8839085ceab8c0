"""What a model card says of the test role: every figure with its interval, and what is left of it under shifts."""

from collections.abc import Mapping
from typing import Any

from pneumo_core import markdown
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.scoring import shifted

FIGURES = (
    ("Recall (sensitivity)", "recall"),
    ("Specificity", "specificity"),
    ("PPV", "ppv"),
    ("NPV", "npv"),
    ("Accuracy", "accuracy"),
    ("AUC", "auc"),
    ("Partial AUC", "pauc"),
    ("Brier score", "brier"),
    ("Expected calibration error", "ece"),
)


def results(bundle: Bundle, *, is_phantom: bool) -> str:
    """Return the figures of the test role with their intervals."""
    t = bundle.test
    rows = [
        (title, markdown.number(t[key]), markdown.interval(t.get(f"{key}_ci")), _exact(t, key))
        for title, key in FIGURES
    ]
    kinds = [
        (kind, str(found["n"]), markdown.number(found["recall"]), markdown.interval(found["recall_ci"]))
        for kind, found in t["recall_by_kind"].items()
    ]
    by_kind = (
        f"\n\nRecall by kind:\n\n{markdown.table(('kind', 'images', 'recall', 'interval'), kinds)}" if kinds else ""
    )
    patient = t["by_patient"]
    head = ("figure", "value", f"{t['confidence']:.0%} interval", "Clopper–Pearson")
    synthetic = " (synthetic images)" if is_phantom else ""
    return (
        f"{t['n']} images{synthetic}, {t['n_positive']} positive, of {t['n_patients']} patient groups, at threshold "
        f"{t['threshold']:.6g}. These images have been opened **{bundle.n_test_openings}** time(s) by the studies of "
        "this database, this one included.\n\n"
        f"{markdown.table(head, rows)}"
        "\n\nIntervals allow for several images of one patient: Wilson with the effective number of images for "
        "proportions, patient bootstrap (2,000 resamples) for areas and Brier score; Clopper–Pearson takes images as "
        "independent. The calibration error has no interval that covers; calibrated scores would have one of "
        f"{markdown.interval(t['ece_if_calibrated'])} on these images by chance. Predictive values hold at this "
        "sample's share of positives only.\n\n"
        f"False-negative rate {t['fnr']:.2%}; one-sided upper bound {t['fnr_upper']:.2%} by image. By patient "
        f"{patient['n_missed']} of {patient['n']} missed ({patient['fnr']:.2%}), "
        f"upper bound {patient['fnr_upper']:.2%}.{by_kind}"
    )


def under_shifts(bundle: Bundle) -> str:
    """Return recall and specificity of the same images under each shift."""
    found = bundle.under_shifts
    if not found:
        return "Not measured."
    least_recall, least_specificity = shifted.worst(found)
    rows = [
        (
            shifted.spoken(f.shift),
            _bold(f"{f.recall:.3f}", f.shift == least_recall) + f" ({f.recall_ci[0]:.3f} to {f.recall_ci[1]:.3f})",
            _bold(f"{f.specificity:.3f}", f.shift == least_specificity)
            + f" ({f.specificity_ci[0]:.3f} to {f.specificity_ci[1]:.3f})",
        )
        for f in found
    ]
    held = (
        "The certificate covers these changes, one at a time."
        if bundle.shifts
        else (
            "The certificate covers none of these changes: it is about images as they are (`finalize --under-shifts` "
            "certifies for them)."
        )
    )
    return (
        f"Recall and specificity at {bundle.threshold:.6g} on {found[0].n_positive} positive and "
        f"{found[0].n_negative} negative test images, each time changed in one fixed way; the worst in bold. {held} A "
        "hospital's images differ in several ways at once: see `pneumo drift` and `pneumo certify`.\n\n"
        f"{markdown.table(('images', 'recall', 'specificity'), rows)}"
    )


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _exact(test: Mapping[str, Any], key: str) -> str:
    return markdown.interval(test["exact"].get(key))
