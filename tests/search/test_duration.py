import pytest

from search.duration import parse_duration, say_duration


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2 h", "-1s", "0", "1h-2m", "h"])
def test_others_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="a duration must"):
        parse_duration(text)


def test_durations_are_said_in_two_units() -> None:
    assert [say_duration(s) for s in (5, 75, 3700)] == ["5 s", "1 min 15 s", "1 h 01 min"]
