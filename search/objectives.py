"""The words for the objectives of `ObjectiveSpec.kind`: one entry per objective, with all its texts.

The rule of an objective is in `pneumo_core.scoring.operating`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pneumo_core.specs import ObjectiveKind, ObjectiveSpec


@dataclass(frozen=True, kw_only=True)
class Words:
    """`values` names what a study maximises, one name a value; `watched` is what trials report after each epoch."""

    values: tuple[str, ...]
    watched: str  # in words: `operating.pruning_metric`
    aim: str  # a sentence's end with `{floor}` and `{ceiling}`


WORDS: Mapping[ObjectiveKind, Words] = MappingProxyType(
    {
        "recall": Words(
            values=("recall with tie-break",),  # up to half a step above the recall itself, so that it may exceed 1
            watched="AUC",
            aim="the highest recall at a specificity of at least {floor}, subject to a false-negative rate (FNR) of at "
            "most {ceiling}",
        ),
        "specificity": Words(
            values=("specificity with tie-break",),
            watched="mean of AUC and partial AUC",
            aim="the highest specificity at a false-negative rate (FNR) of at most {ceiling}",
        ),
        "pauc": Words(
            values=("partial AUC",),
            watched="partial AUC",
            aim="the largest partial AUC over false-negative rates (FNR) up to {ceiling}",
        ),
        "auc": Words(
            values=("AUC",),
            watched="AUC",
            aim="the largest AUC, subject to a false-negative rate (FNR) of at most {ceiling} at a specificity of at "
            "least {floor}",
        ),
        "recall_and_specificity": Words(
            values=("recall", "specificity"),
            watched="mean of AUC and partial AUC",
            aim="recall and specificity at once, subject to a false-negative rate (FNR) of at most {ceiling}",
        ),
    }
)


def of(objective: ObjectiveSpec) -> Words:
    return WORDS[objective.kind]
