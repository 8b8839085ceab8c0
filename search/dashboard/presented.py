"""How optuna-dashboard 0.21 must be told things: what it reads from attributes, as functions of plain data.

It reads feasibility from the list attribute `constraints` of Optuna 2 to 4 only, so it takes every trial that has
`Trial.set_constraint`'s separate attributes for feasible (`optuna_dashboard/_serializer.py`). Writing that list into
the real database would double the penalty that TPE sees, so it is added to what the dashboard is shown.
"""

import copy
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.records import is_feasible
from search.trials import IMAGE_SIZE_PX, rung

LEGACY, SEPARATE = "constraints", "constraints:"
ARTIFACT = "artifacts:"
_WRITTEN = re.compile(r"(dashboard:(?:\d+:)?)note_str:(\d+)")  # a piece of a note, of a trial or of the study
JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
WITHOUT = [1.0]  # a finished trial that never said its constraint isn't feasible, here as everywhere


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


def trial(found: FrozenTrial, artifacts: Iterable[Artifact] = ()) -> FrozenTrial:
    """Return a copy of `found` with the feasibility that the dashboard reads, and `artifacts` before its own."""
    attrs = {key: value for key, value in found.system_attrs.items() if not key.startswith(SEPARATE)}
    if found.state in JUDGED:
        attrs[LEGACY] = list(found.constraints.values()) or WITHOUT
    shown = copy.copy(found)
    shown.system_attrs = dict(artifact.attribute() for artifact in artifacts) | attrs
    return shown


def verdict(found: FrozenTrial) -> str:
    """Return what the note of a judged trial says of its ceiling."""
    if not found.constraints:
        return "**Not feasible**: the trial ended without saying its false-negative rate."
    word = "Feasible" if is_feasible(found) else "Not feasible"
    facts = "; ".join(f"{name} {value:+.4f}" for name, value in found.constraints.items())
    rates = ", ".join(
        f"{label} {100 * value:.1f} %"
        for label, name in (("FNR", "fnr"), ("specificity", "specificity"))
        if isinstance(value := found.user_attrs.get(name), float)
    )
    paused = f"**Paused** on images of {found.user_attrs.get(IMAGE_SIZE_PX)} px. " if rung(found) is not None else ""
    return f"{paused}**{word}** ({facts}; feasible is at most 0). {rates}".strip()


def with_notes(attrs: Mapping[str, Any], notes: Mapping[int | None, str]) -> dict[str, Any]:
    """Return a study's system attributes with notes: by trial id, None for that of the study.

    What someone wrote with the dashboard itself stands below.
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
