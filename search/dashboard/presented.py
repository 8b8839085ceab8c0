"""What optuna-dashboard 0.21 reads from attributes, as functions of plain data.

It reads feasibility from the list attribute `constraints` of Optuna 2 to 4 only, so it takes every trial that has
`Trial.set_constraint`'s separate attributes for feasible (`optuna_dashboard/_serializer.py`). Writing that list into
the real database would double the penalty that TPE sees, so it is added to what the dashboard is shown.
"""

import copy
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.tuner.dialogue import DRAWN
from search.records import FIGURES, is_feasible
from search.report.markup import limit, percent
from search.trials import CONSTRAINT, IMAGE_SIZE_PX, rung, shown_params

LEGACY, SEPARATE = "constraints", "constraints:"
ARTIFACT = "artifacts:"
_WRITTEN = re.compile(r"(dashboard:(?:\d+:)?)note_str:(\d+)")  # a piece of a note, of a trial or of the study
JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_CELL = 200  # characters of a setting in a note
WITHOUT = [1.0]  # a finished trial without a constraint isn't feasible, here as everywhere


LOG_FROM = 10  # times the smallest: such a range is shown on a log axis

Ranges = Mapping[str, BaseDistribution]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file as the dashboard lists it."""

    artifact_id: str  # hexadecimal digits and hyphens
    filename: str
    mimetype: str

    def attribute(self) -> tuple[str, str]:
        """Return the system attribute that Optuna would keep it in."""
        meta = {"artifact_id": self.artifact_id, "filename": self.filename, "mimetype": self.mimetype}
        return f"{ARTIFACT}{self.artifact_id}", json.dumps({**meta, "encoding": None})


def trial(found: FrozenTrial, ranges: Ranges, artifacts: Iterable[Artifact] = ()) -> FrozenTrial:
    """Return a copy of `found` with the feasibility that the dashboard reads, and `artifacts` before its own.

    Nested attributes are left to the trial's note: as JSON on one line they are wider than any screen. Parameters are
    those of the model, within `ranges`: what a sampler drew to make them stays in the database.
    """
    attrs = {key: value for key, value in found.system_attrs.items() if not key.startswith(SEPARATE)}
    if found.state in JUDGED:
        attrs[LEGACY] = list(found.constraints.values()) or WITHOUT
    shown = copy.copy(found)
    shown.system_attrs = dict(artifact.attribute() for artifact in artifacts) | attrs
    shown.user_attrs = narrow(found.user_attrs)
    shown.params = shown_params(found)
    shown.distributions = {name: ranges.get(name, found.distributions[name]) for name in shown.params}
    return shown


def ranges(found: Iterable[FrozenTrial]) -> Ranges:
    """Return, of each parameter that is made of a drawn number, the range that its values span.

    In the database such a value is a range of its own, by which no picture could compare trials.
    """
    values = defaultdict[str, list[float]](list)
    for one in found:
        for name in one.params:
            if name.endswith(DRAWN) and (made := name.removesuffix(DRAWN)) in one.params:
                values[made].append(one.params[made])
    return {name: _range(numbers) for name, numbers in values.items()}


def _range(numbers: Sequence[float]) -> BaseDistribution:
    low, high = min(numbers), max(numbers)
    log = low > 0 and high >= LOG_FROM * low
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def note(found: FrozenTrial) -> str:
    """Return the note of a judged trial: its result, then its specification, since the page cuts wide attributes."""
    rows = [*_flat("", found.user_attrs.get("spec")), *_flat("ran on ", found.user_attrs.get("environment"))]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([verdict(found), "", "| setting | value |", "|---|---|", *lines]) if rows else verdict(found)


def verdict(found: FrozenTrial) -> str:
    """Return what the note of a judged trial says of its ceiling."""
    if not found.constraints:
        return "**Not feasible**: the trial ended without saying its false-negative rate."
    word = "Feasible" if is_feasible(found) else "Not feasible"
    fnr, specificity = (found.user_attrs.get(name) for name in ("fnr", "specificity"))
    paused = f"**Paused** on images of {found.user_attrs.get(IMAGE_SIZE_PX)} px. " if rung(found) is not None else ""
    over = found.constraints.get(CONSTRAINT)
    if not isinstance(fnr, float) or over is None:
        return f"{paused}**{word}**."
    where = "above" if over > 0 else "at or below"
    cleared = f" Specificity {percent(specificity)}." if isinstance(specificity, float) else ""
    ceiling = fnr - over
    rate = f"the false-negative rate of {percent(fnr, beside=ceiling)} is {where} the ceiling of {limit(ceiling)}"
    return f"{paused}**{word}**: {rate}.{cleared}"


def narrow(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that fit a line, the figures first."""
    flat = {key: value for key, value in attrs.items() if isinstance(value, str | int | float | bool)}
    figures = {key: flat.pop(key) for key in FIGURES if key in flat}
    return figures | flat


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value) of what is nested in `value`, for cells of a Markdown table."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, Mapping):
            yield from _flat(f"{prefix}{key}.", item)
        elif item not in (None, "", [], 0, 0.0) and len(str(item)) < MAX_CELL:
            text = ", ".join(map(str, item)) if isinstance(item, list) else str(item)
            yield f"{prefix}{key}", " ".join(text.split()).replace("|", "\\|")


def with_notes(attrs: Mapping[str, Any], notes: Mapping[int | None, str]) -> dict[str, Any]:
    """Return a study's system attributes with notes: by trial id, None for that of the study.

    What someone wrote with the dashboard itself comes below.
    """
    shown = dict(attrs)
    written = defaultdict(list)
    for key in attrs:
        if found := _WRITTEN.fullmatch(key):
            written[found[1]].append((int(found[2]), key))
    for trial_id, text in notes.items():
        prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
        own = "".join(str(shown.pop(key)) for _, key in sorted(written[prefix]))
        shown[f"{prefix}note_str:0"] = f"{text}\n\n---\n\n{own}" if own else text
        shown[f"{prefix}note_ver"] = attrs.get(f"{prefix}note_ver", 1)
    return shown
