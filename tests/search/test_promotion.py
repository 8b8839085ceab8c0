"""Which paused trial continues, as a rule over what each rung has seen; simulated with any number of workers."""

import math
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumo_core.specs import CnnSpec, DataSpec, Stage, TrainSpec, TrialSpec
from search import promotion, trials
from search.promotion import Reached, next_trial
from studies.spec import FidelitySpec, Rung


def reached(*values: float, promoted: tuple[int, ...] = ()) -> list[Reached]:
    return [Reached(trial=i, root=i, value=v, is_promoted=i in promoted) for i, v in enumerate(values)]


def test_one_in_so_many_goes_on_and_the_best_of_them() -> None:
    assert next_trial([reached(0.1, 0.3)], 3) is None
    assert next_trial([reached(0.1, 0.3, 0.2)], 3) == 1
    assert next_trial([reached(0.1, 0.3, 0.2, promoted=(1,))], 3) is None
    assert next_trial([reached(0.1, 0.3, 0.2, 0.0, 0.4, 0.1, promoted=(1,))], 3) == 4


def test_among_equals_the_earlier_configuration_goes_on() -> None:
    assert next_trial([reached(0.5, 0.5, 0.5)], 3) == 0


def test_the_highest_rung_comes_first() -> None:
    low, high = reached(0.1, 0.2, 0.3), [replace(r, trial=r.trial + 10) for r in reached(0.1, 0.2, 0.3)]
    assert next_trial([low, high], 3) == 12
    assert next_trial([low, high[:2]], 3) == 2


def test_the_share_is_rounded_up_only_where_nobody_can_come_any_more() -> None:
    rungs = [reached(0.1, 0.4, 0.2, 0.3, promoted=(1,)), reached(0.4)]
    assert next_trial(rungs, 3, n_settled=0) is None
    assert next_trial(rungs, 3, n_settled=1) == 3
    settled = [reached(0.1, 0.4, 0.2, 0.3, promoted=(1, 3)), [replace(r, trial=r.trial + 10) for r in reached(0.4)]]
    assert next_trial(settled, 3, n_settled=2) == 10
    assert next_trial([], 3, n_settled=0) is None


FIDELITY = FidelitySpec(rungs=(Rung(scale=0.5, epochs=2), Rung(scale=1.0, epochs=4, patients=1.0)), reduction_factor=2)
SPEC = TrialSpec(data=DataSpec(image_size_px=32), model=CnnSpec(filters=(4,)), train=TrainSpec(epochs=6))


def paused(rung: int, *values: float, **system: object) -> FrozenTrial:
    """A trial that was paused at the end of a rung after reports of `values`."""
    return create_trial(
        state=TrialState.PRUNED,
        user_attrs={trials.RUNG: rung},
        system_attrs=system,
        intermediate_values=dict(enumerate(values)),
    )


def numbered(*made: FrozenTrial) -> list[FrozenTrial]:
    for number, trial in enumerate(made):
        trial.number = number
    return list(made)


def next_of(*made: FrozenTrial, begins_more: bool = False) -> int | None:
    return promotion.of_study(trials.ledger(numbered(*made), 1), FIDELITY, begins_more=begins_more)


def test_who_reached_a_rung_is_read_off_the_trials_with_the_value_reported_last() -> None:
    second = {"failed_trial": 0, "retry_history": [0], "stage": 1}
    found = numbered(
        paused(0, 0.9, 0.3),
        paused(0, 0.1, 0.2),
        paused(1, 0.1, 0.2, 0.5, 0.7, **second),
        paused(0),  # it reported nothing
        paused(2, 0.5),  # of a study that had more rungs
        create_trial(state=TrialState.COMPLETE, value=0.5),
        paused(0, 0.8),
        create_trial(state=TrialState.FAIL, system_attrs={"failed_trial": 6, "retry_history": [6], "stage": 1}),
    )
    first, last = promotion.reached(found, 2)
    assert first == [
        Reached(trial=0, root=0, value=0.3, is_promoted=True),
        Reached(trial=1, root=1, value=0.2, is_promoted=False),
    ]
    assert last == [Reached(trial=2, root=0, value=0.7, is_promoted=False)]


def test_the_share_is_rounded_up_once_no_trial_can_reach_the_rung_any_more() -> None:
    three = [paused(0, value) for value in (0.1, 0.3, 0.2)]
    promoted = paused(1, 0.5, failed_trial=1, retry_history=[1], stage=1)
    assert next_of(*three) == 1
    assert next_of(*three, promoted, begins_more=True) is None
    assert next_of(*three, promoted) == 2
    running = create_trial(state=TrialState.RUNNING)
    assert next_of(*three, promoted, running) is None
    waiting = create_trial(state=TrialState.WAITING, system_attrs={"failed_trial": 2, "retry_history": [2], "stage": 1})
    assert next_of(*three, promoted, waiting) is None  # rung 1 will be reached by one more
    assert next_of(paused(0, 0.1), paused(1, 0.2, failed_trial=0, retry_history=[0], stage=1)) == 1


def test_a_stage_trains_to_its_rung_on_images_of_its_size() -> None:
    half, whole = replace(SPEC.data, image_size_px=16), SPEC.data
    assert promotion.stage_of(FIDELITY, SPEC, 0) == (Stage(index=0, until_epoch=2), half)
    assert promotion.stage_of(FIDELITY, SPEC, 1) == (Stage(index=1, until_epoch=4), whole)
    assert promotion.stage_of(FIDELITY, SPEC, 2) == (Stage(index=2), whole)
    assert promotion.stage_of(None, SPEC, 0) == (Stage(), whole)
    with pytest.raises(ValueError, match="`epochs` of every trial must be above the 4"):
        promotion.stage_of(FIDELITY, replace(SPEC, train=TrainSpec(epochs=4)), 0)
    assert promotion.images_wanted(FIDELITY, [SPEC]) == {half, whole}
    assert promotion.images_wanted(None, [SPEC, SPEC]) == {whole}


@dataclass
class Simulated:
    """A study of `n` configurations on `n_workers` that finish their stages in any order."""

    n: int
    n_rungs: int
    reduction_factor: int
    n_workers: int
    random: random.Random
    rungs: list[list[Reached]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)  # roots of those trained to the end
    n_steps: int = 0

    def run(self) -> None:
        self.rungs = [[] for _ in range(self.n_rungs)]
        running: list[tuple[int, int]] = []  # (root, stage)
        n_begun = 0
        while True:
            while len(running) < self.n_workers:
                lowest = min((stage for _, stage in running), default=self.n_rungs)
                number = next_trial(self.rungs, self.reduction_factor, lowest if n_begun == self.n else 0)
                if number is not None:
                    running.append(self._promote(number))
                elif n_begun < self.n:
                    running.append((n_begun, 0))
                    n_begun += 1
                else:
                    break
            if not running:
                return
            root, stage = running.pop(self.random.randrange(len(running)))
            self.n_steps += 1
            if stage == self.n_rungs:
                self.finished.append(root)
            else:
                value = round(self.random.random(), 1)  # ties are common
                self.rungs[stage].append(Reached(trial=1000 * stage + root, root=root, value=value, is_promoted=False))

    def _promote(self, number: int) -> tuple[int, int]:
        stage, root = divmod(number, 1000)
        [index] = [i for i, r in enumerate(self.rungs[stage]) if r.trial == number]
        assert not self.rungs[stage][index].is_promoted
        self.rungs[stage][index] = replace(self.rungs[stage][index], is_promoted=True)
        return root, stage + 1


@given(st.integers(1, 40), st.integers(1, 3), st.integers(2, 4), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_study_ends_with_the_best_of_each_rung_promoted_once(
    n: int, n_rungs: int, reduction_factor: int, n_workers: int, chance: random.Random
) -> None:
    study = Simulated(n=n, n_rungs=n_rungs, reduction_factor=reduction_factor, n_workers=n_workers, random=chance)
    study.run()

    assert len(study.rungs[0]) == n
    assert study.finished, "no trial was trained to its end"
    assert len(study.finished) == len(set(study.finished))
    for k, at_rung in enumerate(study.rungs):
        promoted = [r for r in at_rung if r.is_promoted]
        assert len(promoted) == (len(study.rungs[k + 1]) if k + 1 < n_rungs else len(study.finished))
        best = sorted(at_rung, key=lambda r: (-r.value, r.root))[: math.ceil(len(at_rung) / reduction_factor)]
        assert all(r.is_promoted for r in best)
