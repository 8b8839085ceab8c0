"""Cheap trials first, with light trainers: stages, promotions, kills, several coordinators, resuming."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.specs import TrialSpec
from search import promotion, records, trials
from search.storage.owner import this_process
from spaces.base import Suggest
from studies.spec import FidelitySpec, PrunerSpec, Rung, SamplerSpec, StudySpec
from tests.search import light, light_trainer
from tests.search.light import Faulty, Mixed, Search, executor, study
from tests.search.light_trainer import Fault

FIDELITY = FidelitySpec(rungs=(Rung(scale=0.5, epochs=1), Rung(scale=0.75, epochs=2)))
ONE_RUNG = FidelitySpec(rungs=(Rung(scale=0.5, epochs=1),))


def staged(
    n_trials: int = 9, fidelity: FidelitySpec = FIDELITY, fault: Fault = Fault.NONE, **more: object
) -> StudySpec:
    space = more.pop("space", Faulty(fault, once=True, epochs=4))
    return study(space, n_trials=n_trials, fidelity=fidelity, pruner=PrunerSpec(), **more)  # type: ignore[arg-type]


def by_stage(found: Search) -> list[list[FrozenTrial]]:
    done = [t for t in found.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return [[t for t in done if trials.stage(t) == stage] for stage in range(3)]


def test_the_best_of_each_rung_go_on_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    found = Search(tmp_path, staged(9))
    assert found.run() == "budget"
    light.assert_staged(found)

    small, middle, full = by_stage(found)
    assert len(small) == 9
    assert len(middle) >= 3
    assert len(full) >= 1
    assert {(t.user_attrs["stopped"], t.user_attrs["rung"], t.user_attrs["image_size_px"]) for t in small} == {
        ("paused", 0, 32)
    }
    assert {(t.user_attrs["rung"], t.user_attrs["image_size_px"]) for t in middle} == {(1, 48)}
    assert {(t.state, t.user_attrs["stopped"]) for t in full} == {(TrialState.COMPLETE, "completed")}
    assert {len(t.intermediate_values) for t in full} == {4}
    assert sorted(set(found.sizes_px)) == [32, 48, 64]
    assert all(set(t.constraints) == {"fnr_ceiling"} for t in found.trials)
    best = records.best_feasible(found.current)
    assert best in full
    assert not list((tmp_path / "checkpoints").rglob("*")), "checkpoints were left"


def test_a_larger_budget_goes_on_from_a_finished_study(tmp_path: Path) -> None:
    first = Search(tmp_path, staged(4))
    assert first.run() == "budget"
    light.assert_staged(first)
    again = Search(tmp_path, staged(4))
    assert again.run() == "budget"
    assert len(again.trials) == len(first.trials)

    more = Search(tmp_path, staged(10))
    assert more.run() == "budget"
    light.assert_staged(more, exact=False)  # checkpoints of the paused were removed with the end of the first


def test_a_trial_killed_in_a_later_stage_goes_on_in_it(tmp_path: Path) -> None:
    found = Search(tmp_path, staged(3, ONE_RUNG, Fault.KILLED))  # in epoch 1, the first on full images
    assert found.run() == "budget"
    light.assert_staged(found)
    killed = [t for t in found.trials if t.state == TrialState.FAIL]
    assert killed
    assert {trials.stage(t) for t in killed} == {1}
    complete = [t for t in found.current if t.state == TrialState.COMPLETE]
    assert {trials.stage(t) for t in complete} == {1}


def test_the_next_best_goes_on_in_place_of_one_that_fails_for_good(tmp_path: Path) -> None:
    points = tuple({"fault": fault, "x": x} for fault, x in (("NAN_LOSS", 0.01), ("NONE", 0.02), ("NONE", 0.9)))
    space = Mixed(faults=("NONE", "NAN_LOSS"), epochs=4)
    found = Search(tmp_path, staged(3, ONE_RUNG, space=space, enqueue=points), runner=executor(tmp_path, 1))
    assert found.run() == "budget"
    states = {trials.root(t): t.state for t in found.current}
    assert states == {0: TrialState.FAIL, 1: TrialState.COMPLETE, 2: TrialState.PRUNED}


@pytest.mark.parametrize("n_told", [2, 3, 9])
def test_an_interrupted_study_comes_to_the_same_end(tmp_path: Path, n_told: int) -> None:
    """Stopped after any of the first events: between a rung's end and the promotion, too."""
    points = tuple({"x": x} for x in (0.3, 0.01, 0.7, 0.002))
    spec = staged(4, fault=Fault.NONE, enqueue=points)
    first = Search(tmp_path, spec, runner=executor(tmp_path, 1))
    first.coordinator.stop_asked = lambda: len(first.view.told) >= n_told
    assert first.run() == "interrupted"
    second = Search(tmp_path, spec, runner=executor(tmp_path, 1))
    assert second.run() == "budget"
    light.assert_staged(second)
    assert [round(t.params["x"], 3) for t in by_stage(second)[2]] == [0.01]


def test_a_promotion_that_was_queued_and_not_begun_is_not_queued_again(tmp_path: Path) -> None:
    spec = staged(3, ONE_RUNG)
    first = Search(tmp_path, spec)
    first.coordinator.stop_asked = lambda: sum(event[0] == "finished" for event in first.view.told) == 3
    assert first.run() == "interrupted"
    ledger = trials.ledger(first.trials, 2)
    number = promotion.of_study(ledger, ONE_RUNG, begins_more=False)
    assert number is not None
    trials.promote(first.study, first.trials[number])

    second = Search(tmp_path, spec)
    assert second.run() == "budget"
    light.assert_staged(second)


def test_a_promoted_trial_taken_just_before_the_lock_was_lost_is_found(tmp_path: Path) -> None:
    spec = staged(3, ONE_RUNG)
    found = Search(tmp_path, spec)
    found.coordinator.stop_asked = lambda: sum(event[0] == "finished" for event in found.view.told) == 3
    assert found.run() == "interrupted"
    trials.promote(found.study, found.trials[0])
    trials.begin(found.study.ask(), light_trainer.spec(epochs=4), this_process())

    again = Search(tmp_path, spec)
    assert again.run() == "budget"
    light.assert_staged(again)


def test_queued_points_beyond_the_budget_do_not_take_the_place_of_a_promotion(tmp_path: Path) -> None:
    found = Search(tmp_path, staged(3, enqueue=tuple({"x": 0.01 * (i + 1)} for i in range(6))))
    assert found.run() == "budget"
    waiting = [t for t in found.trials if t.state == TrialState.WAITING]
    assert len(waiting) == 3
    assert len(by_stage(found)[2]) >= 1


class Narrow:
    def __call__(self, suggest: Suggest) -> TrialSpec:
        return light_trainer.spec(suggest.suggest_categorical("x", [0.1, 0.2]), epochs=4)


def test_a_trial_that_repeats_another_is_not_promoted(tmp_path: Path) -> None:
    found = Search(tmp_path, staged(8, space=Narrow()), runner=executor(tmp_path, 1))
    assert found.run() == "budget"
    repeats = {t.number for t in found.trials if "repeats" in t.user_attrs}
    assert len(repeats) == 6
    assert not repeats & {number for t in found.trials for number in trials.history(t)}
    assert {t.params["x"] for t in found.trials if t.state == TrialState.COMPLETE} <= {0.1, 0.2}


def test_two_coordinators_promote_each_configuration_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.search.light"])
    spec, url = staged(12), f"sqlite:///{tmp_path / 'light.db'}"
    both = [
        context.Process(target=light.coordinate, args=(tmp_path, spec, url, 2, str(tmp_path), 0.02)) for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    light.assert_staged(Search(tmp_path, spec, url))


def test_a_pruner_may_end_a_trial_within_a_rung(tmp_path: Path) -> None:
    pruner = PrunerSpec(kind="median", n_startup_trials=1, n_warmup_epochs=0)
    spec = replace(staged(12, ONE_RUNG), pruner=pruner)
    found = Search(tmp_path, spec, runner=executor(tmp_path, 1))
    assert found.run() == "budget"
    pruned = [t for t in found.current if t.state == TrialState.PRUNED and trials.rung(t) is None]
    assert pruned
    assert {t.user_attrs["stopped"] for t in pruned} == {"pruned"}


def test_patience_stops_new_configurations_and_lets_promising_ones_go_on(tmp_path: Path) -> None:
    found = Search(tmp_path, staged(200, budget={"patience_trials": 6}))
    assert found.run() == "stale"
    assert len(found.current) < 200
    assert promotion.next_trial(promotion.reached(found.trials, 2), 3, 2) is None


def test_a_deterministic_study_stays_so(tmp_path: Path) -> None:
    outcomes = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        runner = executor(folder, 2)
        slow = dict(runner.environments[0]) | {light_trainer.EPOCH_S: "0.05"}
        runner.environments = [slow, runner.environments[1]] if name == "a" else [runner.environments[0], slow]
        spec = staged(9, deterministic=True, sampler=SamplerSpec(n_startup_trials=2))
        found = Search(folder, spec, runner=runner)
        assert found.run() == "budget"
        outcomes.append([(t.params, t.state, t.values, trials.stage(t), trials.history(t)) for t in found.trials])
    assert outcomes[0] == outcomes[1]
