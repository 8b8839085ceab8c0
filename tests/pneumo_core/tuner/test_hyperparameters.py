"""KerasTuner's semantics of `HyperParameters`, held by the adapter, and what it asks for."""

from collections.abc import Callable
from typing import Any

import keras_tuner
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters as kt

from pneumo_core.tuner.dialogue import DRAWN, Question, Scalar
from pneumo_core.tuner.hyperparameters import AskingHyperParameters

Declare = Callable[[Any], Any]


class Teller:
    """Answers by name, else with the first possible value; remembers the questions."""

    def __init__(self, **answers: Scalar) -> None:
        self.answers = answers
        self.asked: dict[str, Question] = {}

    def __call__(self, question: Question) -> Scalar:
        assert question.name not in self.asked, "one question a parameter"
        self.asked[question.name] = question
        default = question.choices[0] if question.type == "categorical" else question.low
        return self.answers.get(question.name, default)


def asking(**answers: Scalar) -> AskingHyperParameters:
    return AskingHyperParameters(Teller(**answers))


def test_values_space_and_copy() -> None:
    hp = asking(c=3)
    assert (hp.values, hp.space) == ({}, [])
    assert hp.Choice("c", [1, 2, 3], default=2) == 3
    assert hp.values == {"c": 3}
    assert [p.name for p in hp.space] == ["c"]
    assert hp.get("c") == hp["c"] == 3
    copied = hp.copy()
    assert copied.values == {"c": 3}
    assert copied.Choice("new", [5, 6]) == 5  # a copy takes defaults, which is how `tunable=False` works
    assert "new" not in hp
    with pytest.raises(KeyError, match="does not exist"):
        hp.get("wrong")


def test_a_name_scope_is_part_of_the_name() -> None:
    teller = Teller(**{"choice": 2, "one/choice": 5, "one/two/choice": 8})
    hp = AskingHyperParameters(teller)
    hp.Choice("choice", [1, 2, 3])
    with hp.name_scope("one"):
        hp.Choice("choice", [4, 5, 6])
        with hp.name_scope("two"):
            hp.Choice("choice", [7, 8, 9])
        hp.Int("range", 0, 10)
        assert hp.get("range") == 0
    assert hp.values == {"choice": 2, "one/choice": 5, "one/two/choice": 8, "one/range": 0}
    assert list(teller.asked) == ["choice", "one/choice", "one/two/choice", "one/range"]


def test_a_parent_by_argument_and_an_inactive_parameter_is_none_and_not_asked_for() -> None:
    teller = Teller(**{"a": 2, "b [a=2]": 40})
    hp = AskingHyperParameters(teller)
    hp.Choice("a", [1, 2, 3])
    first = hp.Int("b", 0, 10, parent_name="a", parent_values=1)
    second = hp.Int("b", 0, 100, parent_name="a", parent_values=2)
    assert (first, second) == (None, 40)
    assert hp.values == {"a": 2, "b": 40}
    assert list(teller.asked) == ["a", "b [a=2]"]


def test_conditional_scopes() -> None:
    hp = asking(choice=2)
    hp.Choice("choice", [1, 2, 3])
    for _ in range(2):  # the second time it is retrieved, not registered
        with hp.conditional_scope("choice", [1, 3]):
            assert hp.Choice("child", [4, 5, 6]) is None
    for _ in range(2):
        with hp.conditional_scope("choice", 2):
            assert hp.Choice("child", [7, 8, 9]) == 7
    assert hp.values == {"choice": 2, "child": 7}
    with pytest.raises(ValueError, match="not defined"), hp.conditional_scope("nowhere", 2):
        pass
    with pytest.raises(ValueError, match="cannot have the same name"), hp.conditional_scope("choice", [2]):
        hp.Choice("choice", [4, 5])


def test_scopes_nest_and_mix() -> None:
    teller = Teller(**{"a": 3, "b [a=1|3]": 6})
    hp = AskingHyperParameters(teller)
    hp.Choice("a", [1, 2, 3])
    with hp.conditional_scope("a", [1, 3]):
        hp.Choice("b", [4, 5, 6])
        with hp.conditional_scope("b", 6):
            hp.Choice("c", [7, 8, 9])
            with hp.name_scope("d"):
                hp.Choice("e", [10, 11])
    with hp.conditional_scope("a", 2):
        assert hp.Choice("f", [13, 14]) is None
        with hp.name_scope("g"):
            assert hp.Int("h", 0, 10) is None
    assert hp.values == {"a": 3, "b": 6, "c": 7, "d/e": 10}
    assert list(teller.asked) == ["a", "b [a=1|3]", "c [a=1|3, b=6]", "d/e [a=1|3, b=6]"]


def test_activity_and_access() -> None:
    hp = asking(a=2)
    hp.Choice("a", [1, 2])
    with hp.conditional_scope("a", 1):
        hp.Float("c", -10, 10)
        with pytest.raises(ValueError, match="currently inactive"):
            hp["c"]
        hp.Fixed("d", 4)
    with hp.conditional_scope("a", 2):
        hp.Float("c", -30, -20)
        hp.Fixed("d", 5)
    assert hp["c"] == -30
    assert hp.get("d") == 5
    assert hp.is_active("c")
    assert [hp.is_active(p) for p in hp.space] == [True, False, False, True, True]
    assert ("a" in hp, "d" in hp, "nowhere" in hp) == (True, True, False)


def test_a_preset_wins_and_is_not_asked_for() -> None:
    teller = Teller()
    hp = AskingHyperParameters(teller)
    hp.values["x"] = "given"
    hp.values["tuner/epochs"] = 7
    assert hp.Choice("x", ["default", "given"], default="default") == "given"
    assert hp.get("tuner/epochs") == 7
    assert not teller.asked


def test_merge_takes_defaults_and_overwrites_as_kerastuner_does() -> None:
    teller = Teller(a=50)
    hp = AskingHyperParameters(teller)
    hp.Int("a", 0, 100)
    other = kt.HyperParameters()
    other.Fixed("a", 3)
    other.Int("c", 10, 100, default=30)
    hp.merge(other)
    assert (hp.get("a"), hp.get("c")) == (3, 30)
    third = kt.HyperParameters()
    third.Fixed("a", 5)
    hp.merge(third, overwrite=False)
    assert hp.get("a") == 3
    assert list(teller.asked) == ["a"]


def test_config_round_trip() -> None:
    hp = asking(a=7, f="2")
    hp.Int("a", 1, 10, sampling="reverse_log")
    hp.Float("b", 2, 8, step=2)
    hp.Choice("c", [1, 5, 10], ordered=False)
    hp.Fixed("d", "3")
    hp.Boolean("h")
    hp.Choice("f", ["1", "2"])
    with hp.conditional_scope("f", "2"):
        hp.Int("g", -10, 10, step=2)
    restored = kt.HyperParameters.from_config(hp.get_config())
    assert restored.get_config() == hp.get_config()
    assert restored.values == hp.values


@pytest.mark.parametrize("value", [True, 3, 3.5, "three"])
def test_a_fixed_value_is_not_asked_for(value: Scalar) -> None:
    teller = Teller()
    assert AskingHyperParameters(teller).Fixed("x", value) == value
    assert not teller.asked


@pytest.mark.parametrize(
    ("declare", "expected"),
    [
        (lambda hp: hp.Boolean("x", default=True), (False, True)),
        (lambda hp: hp.Choice("x", [True, False]), (1, 0)),  # KerasTuner takes bool for whole numbers
        (lambda hp: hp.Choice("x", [3, 1, 2]), (3, 1, 2)),
        (lambda hp: hp.Choice("x", [3, 1, 2], ordered=False), (3, 1, 2)),
        (lambda hp: hp.Choice("x", ["b", "a"]), ("b", "a")),
        (lambda hp: hp.Choice("x", [0.5, 0.25, 0.5]), (0.5, 0.25)),
    ],
)
def test_choices(declare: Declare, expected: tuple[Scalar, ...]) -> None:
    teller = Teller(x=expected[-1])
    value = declare(AskingHyperParameters(teller))
    assert teller.asked["x"].choices == expected
    assert (value, type(value)) == (expected[-1], type(expected[-1]))


@pytest.mark.parametrize(
    "declare",
    [
        lambda hp: hp.Choice("x", [2]),
        lambda hp: hp.Int("x", 2, 2),
        lambda hp: hp.Int("x", 2, 6, step=5),
        lambda hp: hp.Int("x", 2, 5, step=3, sampling="log"),
        lambda hp: hp.Float("x", 2, 2),
    ],
)
def test_a_parameter_with_one_value_is_not_asked_for(declare: Declare) -> None:
    teller = Teller()
    assert declare(AskingHyperParameters(teller)) == 2
    assert not teller.asked


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
@pytest.mark.parametrize("step", [None, 2, 3])
@pytest.mark.parametrize("kind", ["Int", "Float"])
def test_every_sampling_reaches_both_ends_and_only_kerastuners_values(
    kind: str, step: int | None, sampling: str
) -> None:
    def drawn(share: float) -> Any:
        def answer(question: Question) -> Scalar:
            return question.low if share == 0 else question.high

        return getattr(AskingHyperParameters(answer), kind)("x", 2, 32, step=step, sampling=sampling)

    parameter = getattr(kt, kind)("x", 2, 32, step=step, sampling=sampling)
    ends = drawn(0.0), drawn(1.0)
    if step is None:
        assert sorted(ends) == pytest.approx([2, 32])
    else:
        allowed = [float(value) for value in parameter.values]
        assert sorted(ends) == pytest.approx([min(allowed), max(allowed)])
    assert all(isinstance(end, int if kind == "Int" else float) for end in ends)


@given(share=st.floats(0, 1), low=st.integers(1, 50), width=st.integers(1, 500))
def test_a_reverse_log_stays_in_range(share: float, low: int, width: int) -> None:
    def declared(kind: str) -> Any:
        hp = AskingHyperParameters(lambda question: share if question.name.endswith(DRAWN) else question.low)
        return getattr(hp, kind)("x", low, low + width, sampling="reverse_log")

    assert low <= declared("Int") <= low + width
    assert low <= declared("Float") <= low + width


def test_a_model_by_conditional_scope_has_only_its_own_parameters() -> None:
    def build(hp: Any) -> dict[str, Any]:
        kind = hp.Choice("model", ["v1", "v2"])
        with hp.conditional_scope("model", "v1"):
            first = {"layers": hp.Int("layers", 1, 3)}
        with hp.conditional_scope("model", "v2"):
            second = {"layers": hp.Int("layers", 20, 40)}
        return first if kind == "v1" else second

    assert build(asking(model="v1")) == {"layers": 1}
    assert build(asking(model="v2")) == {"layers": 20}


def test_an_untunable_hypermodel_builds_with_defaults() -> None:
    class Inner(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> int:
            return int(hp.Int("x", 1, 9, default=5))

    teller = Teller(x=9)
    assert Inner(tunable=False).build(AskingHyperParameters(teller)) == 5
    assert Inner().build(AskingHyperParameters(teller)) == 9


def test_an_unknown_kind_of_parameter_is_named() -> None:
    class Odd(kt.HyperParameter):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError, match="`x` is a Odd"):
        asking()._register(Odd("x"))
