"""When the same failure ends a search, and what it says then."""

from search.diagnosis import UNBUILDABLE_FACTOR, Failures


def test_one_reason_again_and_again_ends_the_search() -> None:
    failures = Failures(2)
    for reason in ("nan_loss", "hang"):
        failures.add(reason, "")
    assert failures.diagnosis == ""
    failures.clear()
    failures.add("nan_loss", "")
    assert failures.diagnosis == ""
    failures.add("nan_loss", "epoch 3")
    assert "2 trials failed with 'nan_loss'" in failures.diagnosis
    assert "epoch 3" in failures.diagnosis


def test_points_that_can_not_be_built_end_it_later() -> None:
    failures = Failures(2)
    for _ in range(2 * UNBUILDABLE_FACTOR - 1):
        failures.add("bad_spec", "")
    assert failures.diagnosis == ""
    failures.add("bad_spec", "")
    assert failures.diagnosis
