"""The words about objectives."""

from typing import get_args

from pneumo_core.specs import ObjectiveKind, ObjectiveSpec
from search import objectives


def test_every_objective_has_words_and_one_name_a_value() -> None:
    assert set(objectives.WORDS) == set(get_args(ObjectiveKind))
    for kind in objectives.WORDS:
        words = objectives.of(ObjectiveSpec(kind=kind))
        assert len(words.values) == 1 + (kind == "recall_and_specificity")
        assert "{" not in words.aim.format(floor="90 %", ceiling="3 %")
