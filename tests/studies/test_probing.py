"""What is known of a space before it is searched, and which spaces are refused."""

import itertools
import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumo_core.errors import StudyError
from pneumo_core.specs import DataSpec, DenseSpec, TrainSpec, TrialSpec
from spaces import named
from spaces.base import Suggest
from studies.load import check
from studies.probing import probe
from studies.spec import Space, StudySpec


def trial(units: Any = (4,), rate: float = 0.01) -> TrialSpec:
    return TrialSpec(data=DataSpec(image_size_px=16), model=DenseSpec(units=units), train=TrainSpec(learning_rate=rate))


def study(space: Space, **more: Any) -> StudySpec:
    return StudySpec(name="probed", space=space, **more)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ([(4,), (4, 8)], r"choice \(4,\) \(tuple\)"),
        ([{"a": 1}, {"a": 2}], "dict"),
        ([4, np.int64(8)], "int64"),
        ([0.5, np.float64(0.25)], "float64"),
        ([0.5, float("nan")], "nan"),
        ([0.5, float("inf")], "inf"),
        ([1, True], "must differ"),
        (["a", "a"], "must differ"),
        ([], "at least one"),
    ],
)
def test_a_choice_that_a_database_would_change_is_refused_with_its_parameter(choices: list[Any], said: str) -> None:
    def space(suggest: Suggest) -> TrialSpec:
        suggest.suggest_categorical("layers", choices)
        return trial()

    with pytest.raises(StudyError, match=f"`layers`.*{said}"):
        probe(study(space))


def test_choices_of_any_type_are_searched_by_name() -> None:
    def space(suggest: Suggest) -> TrialSpec:
        return trial(named(suggest, "layers", {"one": (4,), "two": (4, 8)}))

    found = probe(study(space))
    assert found.parameters["layers"].choices == ("one", "two")
    assert {t.model.units for t in found.trials if isinstance(t.model, DenseSpec)} == {(4,), (4, 8)}


def changing_choices(suggest: Suggest) -> TrialSpec:
    deep = suggest.suggest_categorical("deep", [False, True])
    return trial((suggest.suggest_categorical("units", [8, 16] if deep else [4, 8]),))


def changing_kind(suggest: Suggest) -> TrialSpec:
    if suggest.suggest_categorical("exact", [False, True]):
        return trial((suggest.suggest_int("size", 1, 4),))
    return trial((round(suggest.suggest_float("size", 1, 4)),))


def changing_scale(suggest: Suggest) -> TrialSpec:
    log = suggest.suggest_categorical("is_log", [False, True])
    return trial(rate=suggest.suggest_float("rate", 0.01, 0.1, log=log))


@pytest.mark.parametrize(
    ("space", "name"), [(changing_choices, "units"), (changing_kind, "size"), (changing_scale, "rate")]
)
def test_draws_that_one_study_cannot_store_are_refused(space: Space, name: str) -> None:
    with pytest.raises(StudyError, match=f"`{name}` is .* in one draw and .* in another"):
        probe(study(space))


def test_a_range_may_depend_on_another_parameter() -> None:
    def space(suggest: Suggest) -> TrialSpec:
        n = suggest.suggest_int("n", 1, 3)
        return trial((suggest.suggest_int("units", 1, 10 * n),))

    assert str(probe(study(space)).parameters["units"]) == "int in [1, 30]"


def counting(numbers: Any = itertools.count(1)) -> int:  # noqa: B008  (state is what this is about)
    return int(next(numbers))


@pytest.mark.parametrize(
    "impure",
    [
        lambda: random.choice([2, 4, 6]),
        lambda: int(np.random.default_rng().integers(1, 999)),
        lambda: 1 + time.perf_counter_ns() % 100_003,
        counting,
    ],
)
def test_a_space_that_depends_on_something_else_is_refused(impure: Any) -> None:
    def space(suggest: Suggest) -> TrialSpec:
        return trial((impure(),), suggest.suggest_float("rate", 0.01, 0.1))

    with pytest.raises(StudyError, match=r"nothing but what it is suggested.*`model\.units` is \["):
        probe(study(space))


def test_a_random_range_is_refused() -> None:
    def space(suggest: Suggest) -> TrialSpec:
        return trial((suggest.suggest_int("units", 1, random.randint(10, 99)),))

    with pytest.raises(StudyError, match="nothing but what it is suggested"):
        probe(study(space))


def test_points_that_cannot_be_built_are_counted_and_a_space_of_nothing_else_is_refused() -> None:
    def sometimes(suggest: Suggest) -> TrialSpec:
        return trial((suggest.suggest_int("units", -9, 9),))

    found = probe(study(sometimes))
    assert 0 < found.n_refused < 64
    assert found.n_refused + len(found.trials) == 64
    assert "got (" in found.notes[0]

    def never(suggest: Suggest) -> TrialSpec:
        return trial((suggest.suggest_int("units", -9, 0),))

    with pytest.raises(StudyError, match="none of 64 can be built, the last with"):
        probe(study(never))


def test_a_space_of_few_draws_gets_more_until_one_can_be_built() -> None:
    class Rare:
        n_probes = 2

        def __call__(self, suggest: Suggest) -> TrialSpec:
            if suggest.suggest_float("x", 0, 1) < 0.9:
                raise ValueError("too small")
            return trial()

    found = probe(study(Rare()))
    assert len(found.trials) == 1
    assert found.n_refused > 2


def test_a_mistake_in_the_space_is_no_failed_trial() -> None:
    def space(suggest: Suggest) -> TrialSpec:
        return trial((suggest.suggest_inte("units", 1, 9),))  # type: ignore[attr-defined]

    with pytest.raises(StudyError, match=r"AttributeError.*suggest_inte"):
        probe(study(space))


def branching(suggest: Suggest) -> TrialSpec:
    deep = suggest.suggest_categorical("deep", [False, True])
    units = (suggest.suggest_int("units_1", 1, 9), *((suggest.suggest_int("units_2", 1, 9),) if deep else ()))
    return trial(units)


@settings(max_examples=30)
@given(deep=st.none() | st.booleans(), first=st.none() | st.integers(1, 9), second=st.none() | st.integers(1, 9))
def test_a_queued_point_may_have_any_of_the_names(deep: bool | None, first: int | None, second: int | None) -> None:
    if deep is False and second is not None:
        return
    point = {"deep": deep, "units_1": first, "units_2": second}
    check(study(branching, enqueue=({name: value for name, value in point.items() if value is not None},)))


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"units_1": 10}, r"`units_1` must be int in \[1, 9\], got 10"),
        ({"unit_1": 3}, "`unit_1` is not in the space; did you mean 'units_1'"),
        ({"deep": False, "units_2": 3}, "`units_2` is not in the space"),
    ],
)
def test_a_queued_point_that_no_draw_can_have_is_refused(point: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=rf"enqueue\[0\].*{said}"):
        check(study(branching, enqueue=(point,)))
