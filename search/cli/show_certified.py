"""A threshold certified anew, and drift, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from pneumo_core import codec
from pneumo_core.bundles.recertified_card import spread_words
from pneumo_core.scoring.certify import Certificate
from pneumo_core.scoring.halves import Halves
from search import printing

NOT_FOR_THEM = 0.5  # mean specificity below which a certified threshold clears too few to be of use


def show_certification(console: Console, answer: Mapping[str, Any]) -> None:
    """Print the result of `certify`."""
    counts, old, halves = answer["calibration"], answer["before"], codec.from_json(Halves, answer["halves"])
    printing.say(
        console,
        f"{counts['n_images']} images of {counts['n_patients']} patients; {counts['n_positive_images']} positive, of "
        f"{counts['n_positive_patients']} patients"
        + (f"; {answer['n_left_out']} left out that the bundle was made from" if answer["n_left_out"] else ""),
    )
    if not answer["patients_known"]:
        printing.say(console, "The patients of some positive images are unknown: there is no certificate by patient.")
    for certificate in answer["certificates"].values():
        printing.say(console, str(codec.from_json(Certificate, certificate)))
    table = printing.table(("", "old threshold", "new threshold"))
    printing.add(table, "threshold", f"{answer['old_threshold']:.6g}", f"{answer['threshold']:.6g}")
    for title, name in (("false-negative rate", "fnr"), ("specificity", "specificity")):
        new = halves.new[name]
        printing.add(table, title, _old(old, name), f"{new.mean:.3f} ({new.low:.3f} to {new.high:.3f})")
    printing.show(console, table)
    printing.say(console, f"Old: all images, {old['confidence']:.0%} intervals. New: {spread_words(halves)}.")
    if (cleared := halves.new["specificity"].mean) < NOT_FOR_THEM:
        printing.say(
            console,
            f"This bundle is not for these images: to miss at most {answer['ceiling']:.2%} of the ill, it clears "
            f"{cleared:.0%} of the healthy.",
        )
    _rejected(console, answer["rejected"])
    printing.say(console, f"Bundle: {answer['bundle']}; its history of certifications is in bundle.json.")


def show_drift(console: Console, answer: Mapping[str, Any]) -> None:
    """Print what `drift` found."""
    table = printing.table(("separated by", "AUC", "interval"))
    for title, key in (("16 × 16 grey levels", "by_pixels"), ("image statistics", "by_facts")):
        low, high = answer[key]["auc_ci"]
        printing.add(table, title, f"{answer[key]['auc']:.3f}", f"{low:.3f} to {high:.3f}")
    printing.show(console, table)
    table = printing.table(("", f"certified on ({answer['n_reference']})", f"these ({answer['n']})"))
    for name, pair in answer["score_quantiles"].items():
        printing.add(table, f"score, {name} quantile", *_numbers(pair))
    printing.add(table, "scores between .05 and .95", *(f"{share:.1%}" for share in answer["undecided"]))
    printing.add(table, "called positive", *(f"{share:.1%}" for share in answer["called"]))
    for name, pair in answer["facts"].items():
        printing.add(table, f"{name.replace('_', ' ')}, median", *_numbers(pair))
    printing.show(console, table)
    _rejected(console, answer["rejected"])
    printing.say(console, answer["line"])


def _old(figures: Mapping[str, Any], name: str) -> str:
    if name == "fnr":
        low, high = (1 - end for end in reversed(figures["recall_ci"]))
    else:
        low, high = figures[f"{name}_ci"]
    return f"{figures[name]:.3f} ({low:.3f} to {high:.3f})"


def _numbers(pair: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.4g}" for value in pair)


def _rejected(console: Console, rejected: Sequence[Sequence[str]]) -> None:
    if rejected:
        printing.say(console, f"{len(rejected)} files can't be used and were left out:")
        for path, reason in rejected[:10]:
            printing.say(console, f"  {printing.inline(path)}: {reason}")
