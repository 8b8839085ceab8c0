import threading

import pytest

from pneumo_core.parallel import map_in_order


def test_results_are_in_order_and_progress_rises() -> None:
    seen: list[tuple[str, int, int]] = []
    results = map_in_order(lambda n: n * n, range(100), what="squares", on_progress=lambda *step: seen.append(step))
    assert list(results) == [n * n for n in range(100)]
    assert seen == [("squares", n, 100) for n in range(1, 101)]


def test_work_ahead_of_the_consumer_is_bounded() -> None:
    started: list[int] = []
    results = map_in_order(started.append, range(10_000), what="", on_progress=lambda *step: None)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(started) < 1_000


def test_the_first_exception_ends_the_work_and_the_threads() -> None:
    def fail_at_seven(n: int) -> int:
        if n == 7:
            raise KeyError(n)
        return n

    with pytest.raises(KeyError, match="7"):
        list(map_in_order(fail_at_seven, range(1000), what="", on_progress=lambda *step: None))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pneumo")]


def test_nothing_to_do() -> None:
    assert list(map_in_order(str, [], what="", on_progress=lambda *step: None)) == []
