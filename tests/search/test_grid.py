import tracemalloc
from itertools import islice

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core.errors import StudyError
from search.grid import Grid, n_levels, shuffled
from spaces.base import Parameter

NINE = {f"p{i}": Parameter(kind="int", low=0, high=9, step=1) for i in range(9)}


@given(n=st.integers(1, 300), seed=st.integers(0, 99))
def test_every_point_comes_once_in_an_order_of_the_seed(n: int, seed: int) -> None:
    order = list(shuffled(n, seed))
    assert sorted(order) == list(range(n))
    assert order == list(shuffled(n, seed))


def test_a_grid_of_a_billion_points_takes_no_memory() -> None:
    tracemalloc.start()
    study = optuna.create_study(sampler=Grid(NINE, seed=0))
    for _ in range(5):
        trial = study.ask()
        for name in NINE:
            trial.suggest_int(name, 0, 9)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(points) == 5
    assert all(len(set(point)) > 1 for point in points)
    assert peak_bytes < 10e6
    assert len(set(islice(shuffled(10**9, 0), 1000))) == 1000


def test_every_combination_is_tried_once() -> None:
    parameters = {
        "a": Parameter(kind="categorical", choices=("x", "y", "z")),
        "b": Parameter(kind="float", low=0.0, high=1.0, step=0.25),
        "c": Parameter(kind="int", low=2, high=7, step=2),
    }
    study = optuna.create_study()
    for _ in range(3 * 5 * 3):
        study.sampler = Grid(parameters, seed=7)  # made anew for each trial, as by a coordinator
        trial = study.ask()
        trial.suggest_int("c", 2, 6, step=2)
        trial.suggest_categorical("a", ["x", "y", "z"])
        trial.suggest_float("b", 0.0, 1.0, step=0.25)
        study.tell(trial, 0.0)
    points = {tuple(sorted(trial.params.items())) for trial in study.trials}
    assert len(points) == 45
    assert {trial.params["b"] for trial in study.trials} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {trial.params["c"] for trial in study.trials} == {2, 4, 6}


def test_a_parameter_without_a_step_is_refused() -> None:
    with pytest.raises(StudyError, match=r"`rate` is a float in .*give it a step"):
        n_levels("rate", Parameter(kind="float", low=0.0, high=1.0))
