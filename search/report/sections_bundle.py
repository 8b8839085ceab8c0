"""The bundle that `finalize` made, beside the search: what its threshold is worth on changed images."""

from collections.abc import Sequence

from pneumo_core.bundles.bundle import Bundle
from pneumo_core.scoring.shifted import ShiftFigures, spoken, worst
from search.report.data import ReportData
from search.report.markup import Html, join, missing, paragraph, table, tag
from search.report.numbers import percent


def under_shifts(data: ReportData) -> Html:
    """Return recall and specificity of the bundle under each shift, the worst in bold."""
    bundle = data.bundle
    if bundle is None or not bundle.under_shifts:
        return missing("No bundle was measured under shifts: `pneumo finalize` does it and writes this page again.")
    first = bundle.under_shifts[0]
    return join(
        [
            paragraph(
                f"The bundle at its threshold {bundle.threshold:.6g}, on {first.n_positive} positive and "
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
