import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core.errors import StudyError
from spaces.base import Parameter, Prefixed, Recorder, Suggest, unused


def test_an_optuna_trial_is_a_suggest() -> None:
    suggest: Suggest = optuna.create_study().ask()
    assert 1 <= suggest.suggest_int("n", 1, 4) <= 4
    assert suggest.suggest_categorical("c", ["a", "b"]) in ("a", "b")
    assert 0 <= suggest.suggest_float("x", 0.0, 1.0) <= 1


@given(seed=st.integers(0, 1000), low=st.integers(1, 20), width=st.integers(0, 50), log=st.booleans())
def test_draws_stay_in_range_and_repeat_by_seed(seed: int, low: int, width: int, log: bool) -> None:
    drawn = [Recorder(seed=seed).suggest_int("n", low, low + width, log=log) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert low <= drawn[0] <= low + width


def test_a_step_is_kept() -> None:
    values = {Recorder(seed=s).suggest_float("x", 0.0, 1.0, step=0.25) for s in range(100)}
    assert values == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_one_name_with_two_ranges_is_an_error() -> None:
    recorder = Recorder()
    recorder.suggest_int("n", 1, 4)
    with pytest.raises(StudyError, match="`n` is suggested twice"):
        recorder.suggest_int("n", 1, 5)


@pytest.mark.parametrize("value", [0, 5, 2.5, "2", True])
def test_a_given_value_out_of_range_is_named(value: object) -> None:
    with pytest.raises(StudyError, match=r"`n` must be int in \[1, 4\]"):
        Recorder(given={"n": value}).suggest_int("n", 1, 4)  # type: ignore[dict-item]


def test_a_missing_and_a_superfluous_name_are_told() -> None:
    recorder = Recorder(given={"n": 2, "units_l": 3})
    assert recorder.suggest_int("n", 1, 4) == 2
    assert "units_l" in (unused({"n": 2, "units_l": 3}, recorder) or "")
    with pytest.raises(StudyError, match="`units_1`"):
        recorder.suggest_int("units_1", 1, 4)


def test_a_prefix_reaches_every_kind() -> None:
    recorder = Recorder()
    suggest = Prefixed(recorder, "cnn_")
    suggest.suggest_int("i", 1, 2)
    suggest.suggest_float("f", 1.0, 2.0)
    suggest.suggest_categorical("c", ["a"])
    assert sorted(recorder.values) == ["cnn_c", "cnn_f", "cnn_i"]


def test_a_parameter_reads_as_a_sentence() -> None:
    assert str(Parameter(kind="float", low=0.001, high=0.1, log=True)) == "float in [0.001, 0.1], log scale"
    assert str(Parameter(kind="categorical", choices=("a", True))) == "one of a, True"
