"""Card and report of a bundle whose threshold was certified anew: what is new comes first, the old text follows."""

from collections.abc import Mapping
from typing import Any

from pneumo_core import markdown
from pneumo_core.bundles.bundle import Bundle, Certification
from pneumo_core.bundles.promise import promise
from pneumo_core.scoring.halves import Halves, Spread

_BEGIN, _END = "<!-- certified anew -->", "<!-- the card of finalize -->"
_FIGURES = "model-index:"  # a field of a card's metadata


def card(bundle: Bundle, old: str) -> str:
    """Return the card of `bundle`, certified by the last of its certifications; `old` is the card before."""
    header, body = _header(old)
    return f"{header}{_BEGIN}\n{_section(bundle)}\n{_END}\n\n{body.split(_END, 1)[-1].lstrip()}"


def _header(old: str) -> tuple[str, str]:
    """Return the metadata of the card `old` without the figures of a threshold before, and the rest of the card."""
    if not old.startswith("---\n"):
        return "", old
    fields, body = old.removeprefix("---\n").split("\n---\n", 1)
    kept = [
        line.replace('"uncertified"', '"certified"') for line in fields.split("\n") if not line.startswith(_FIGURES)
    ]
    return "\n".join(("---", *kept, "---", "")), body


def report(bundle: Bundle, old: str) -> str:
    """Return the page `old` of the bundle before, which says first that it is about another threshold."""
    made = bundle.certifications[-1]
    first = (
        f'<p class="verdict bad"><strong>The threshold was certified anew on {made.time}: {made.threshold:.6g}.'
        f"</strong> This page is about the search and about the threshold that `finalize` set, "
        f"{bundle.certifications[0].threshold:.6g}. MODEL_CARD.md has the new figures.</p>"
    )
    head, main, rest = old.partition("<main>")
    return f"{head}{main}{_BEGIN}{first}{_END}{rest.split(_END, 1)[-1]}" if main else old


def _section(bundle: Bundle) -> str:
    made, before = bundle.certifications[-1], bundle.certifications[-2]
    c = made.calibration
    certificates = "\n".join(f"- {certificate}" for certificate in made.certificates.values())
    return (
        f"# Threshold certified anew on {made.time}\n\n"
        f"**The threshold is {made.threshold:.6g}.** It takes the place of {before.threshold:.6g}; the networks are "
        f"unchanged. The figures of the card below and of `report.html` are those of the threshold that `finalize` "
        f"set, {bundle.certifications[0].threshold:.6g}.\n\n{promise(bundle)}\n\n"
        f"It was set on {c.n_images} images of {c.n_patients} patients of another source; {c.n_positive_images} are "
        f"positive, of {c.n_positive_patients} patients. The guarantee is about patients drawn as these were.\n\n"
        f"{certificates}\n\n{_comparison(made, before)}\n\nHistory:\n\n{_history(bundle)}\n"
    )


def _comparison(made: Certification, before: Certification) -> str:
    assert made.halves is not None
    halves, old = made.halves, made.before
    rows = [
        ("threshold", f"{before.threshold:.6g}", f"{made.threshold:.6g}"),
        ("false-negative rate", _rate(old, "recall", missed=True), _spread(halves.new["fnr"])),
        ("specificity", _rate(old, "specificity"), _spread(halves.new["specificity"])),
    ]
    return (
        f"{markdown.table(('', 'old', 'new'), rows)}\n\nOld: on all these images, which didn't set it, with "
        f"{old['confidence']:.0%} intervals. New: {spread_words(halves)}, so that no image judges a threshold that it "
        "set."
    )


def spread_words(halves: Halves) -> str:
    """Return how the figures of a new threshold came about."""
    short = halves.n - halves.n_certified
    few = f"; {short} halves had too few positives to certify and took their lowest positive score" if short else ""
    return f"mean (and 95 %) of {halves.n} random halves of the patients, set on one and judged on the other{few}"


def _history(bundle: Bundle) -> str:
    return "\n".join(
        f"- {entry.time or 'unknown time'}: threshold {entry.threshold:.6g}, FNR ceiling {entry.ceiling:g}, confidence "
        f"{entry.confidence:g}, by {entry.guarantee}, on {entry.calibration.n_positive_images} positive images of "
        f"{entry.calibration.n_positive_patients} patients (images `{entry.images}`)"
        for entry in bundle.certifications
    )


def _spread(found: Spread) -> str:
    return f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"


def _rate(figures: Mapping[str, Any], name: str, *, missed: bool = False) -> str:
    value, (low, high) = figures[name], figures[f"{name}_ci"]
    if missed:
        value, low, high = 1 - value, 1 - high, 1 - low
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
