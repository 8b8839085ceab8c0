"""What a study is, as the Markdown of its note."""

from collections.abc import Mapping
from typing import Any

import optuna

from pneumo_core.specs import ObjectiveSpec
from search import objectives, stored


def note(study: optuna.Study) -> str:
    """Return the definition of `study`: aim, search, data and space; parts that aren't stored are left out."""
    known = stored.read(study)
    definition, mark = known.definition, known.fingerprint if known.is_ours else {}
    description = str(definition.get("description", ""))
    search = {name: definition.get(name) for name in ("sampler", "pruner", "trials")}
    parts = (
        f"# {study.study_name}",
        description,
        _aim(known.objective),
        "This view is read-only and shows the trials as `pneumo status` counts them: *best* is the best **feasible** "
        "one.",
        _table("Search", search),
        _table("Data", mark.get("data", {})),
        _table("Split", mark.get("split", {})),
        _table("Space", known.space),
    )
    return "\n\n".join(part for part in parts if part)


def _aim(objective: ObjectiveSpec) -> str:
    floor, ceiling = f"{100 * objective.specificity_floor:g} %", f"{100 * objective.fnr_ceiling:g} %"
    return f"**Aim:** {objectives.of(objective).aim.format(floor=floor, ceiling=ceiling)}, on validation."


def _table(title: str, rows: Mapping[str, Any]) -> str:
    known = {name: value for name, value in rows.items() if value is not None}
    if not known:
        return ""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in known.items()]
    return "\n".join((f"## {title}", "", "| | |", "|---|---|", *lines))


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
