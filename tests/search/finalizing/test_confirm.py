"""Who may drop whom: a candidate over the ceiling on the folds drops nobody, whatever its value."""

from pathlib import Path

import numpy as np
import pytest

from pneumo_core.data import folds
from pneumo_core.specs import ObjectiveSpec
from pneumo_core.wire import RunFold, Scored, Task
from search.executors.protocol import Event
from search.finalizing.confirm import Candidate, Confirmed, FoldPlan, confirm
from search.finalizing.jobs import Jobs
from search.prepared import Prepared
from tests.search.finalizing.made import FakeExecutor, spec_of, stored

MISSES_ONE, MISSES_TWO, FALSE_ALARM = 0.2, 0.3, 0.4  # the learning rates that stand for models with these flaws
PLAN = FoldPlan(n_folds=5, n_seeds=1, seed=0)


class Flawed(FakeExecutor):
    """Scores that part the classes but for one or two ill images below all others, or a healthy one above them."""

    def _answer(self, task: Task) -> Event:
        assert isinstance(task, RunFold)
        y, groups = folds.labels(Path(task.arrays))
        y = y[folds.parts(y, groups, task.n_folds, task.index, task.fold_seed)[2]]
        scores = 0.2 + 0.6 * y + np.linspace(0, 0.1, len(y))
        flaw = task.spec.train.learning_rate
        if flaw == FALSE_ALARM:
            scores[np.flatnonzero(y == 0)[0]] = 1.0
        else:
            scores[np.flatnonzero(y == 1)[: 1 if flaw == MISSES_ONE else 2]] = 0.0
        return Scored(number=task.number, scores=tuple(scores.tolist()))


@pytest.fixture
def prepared(tmp_path: Path, phantoms: Path) -> Prepared:
    return stored(tmp_path, phantoms, ())[1]


def confirmed(prepared: Prepared, folder: Path, *flaws: float) -> list[Confirmed]:
    rivals = [Candidate(trial=i, value=1 - i / 10, spec=spec_of(flaw)) for i, flaw in enumerate(flaws)]
    jobs = Jobs(executor=Flawed(), folder=folder / "jobs", program={})
    return confirm(rivals, jobs, PLAN, ObjectiveSpec(kind="auc"), prepared.arrays_for, lambda _: None)


def test_an_infeasible_candidate_of_higher_value_drops_no_feasible_one(prepared: Prepared, tmp_path: Path) -> None:
    first, second = confirmed(prepared, tmp_path, MISSES_ONE, FALSE_ALARM)
    assert (first.candidate.trial, first.fate) == (1, "confirmed")
    assert first.mean_constraint <= 0 < second.mean_constraint
    assert first.mean < second.mean


def test_a_feasible_candidate_drops_those_of_lower_value(prepared: Prepared, tmp_path: Path) -> None:
    first, second = confirmed(prepared, tmp_path, FALSE_ALARM, MISSES_TWO)
    assert (first.candidate.trial, first.fate) == (0, "confirmed")
    assert second.fate == "dropped"


def test_where_none_is_feasible_all_run_and_the_higher_value_wins(prepared: Prepared, tmp_path: Path) -> None:
    found = confirmed(prepared, tmp_path, MISSES_ONE, MISSES_TWO)
    assert [(rival.candidate.trial, rival.fate) for rival in found] == [(0, "confirmed"), (1, "confirmed")]
    assert all(rival.mean_constraint > 0 for rival in found)
