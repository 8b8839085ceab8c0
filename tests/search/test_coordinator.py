"""One coordinator around light trials: budgets, faults, retries, pruning, order."""

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from pneumo_core.specs import TrialSpec
from search import coordinator, trials
from search.executors import control_groups, local
from search.executors.local import Limits, LocalExecutor
from search.storage import locks
from search.storage.database import exclusive, open_storage
from search.storage.owner import this_process
from spaces.base import Parameter, Suggest
from studies.spec import PrunerSpec, SamplerSpec
from tests.search import light, light_trainer
from tests.search.light import Faulty, Mixed, Search, executor, fresh_executor, study
from tests.search.light_trainer import Fault
from tests.search.memory_limit import memory_limit, within


def test_a_study_runs_to_its_total_budget_and_no_further(tmp_path: Path) -> None:
    first = Search(tmp_path, study(n_trials=4))
    assert first.run() == "budget"
    light.assert_whole(first)

    again = Search(tmp_path, study(n_trials=4))
    assert again.run() == "budget"
    assert len(again.trials) == 4

    more = Search(tmp_path, study(n_trials=6))
    assert more.run() == "budget"
    light.assert_whole(more)
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))


def test_attributes_and_constraint_are_those_that_other_tools_read(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=1))
    found.run()
    [trial] = found.trials
    assert trial.constraints == {"fnr_ceiling": pytest.approx(0.5 - trial.value)}
    assert {"recall", "specificity", "fnr", "auc", "pauc", "threshold", "seconds", "spec"} <= set(trial.user_attrs)


REASONS = {
    Fault.KILLED: ("child_died", "SIGKILL"),
    Fault.SEGFAULT: ("child_died", "SIGSEGV"),
    Fault.EXIT: ("child_died", "last words"),
    Fault.GARBAGE: ("child_died", ""),
    Fault.EXCEPTION: ("exception", "ZeroDivisionError: a bug"),
    Fault.NAN_LOSS: ("nan_loss", "became nan"),
    Fault.NAN_METRICS: ("nan_metrics", "nan"),
    Fault.OUT_OF_MEMORY: ("out_of_memory", "no memory"),
    Fault.DISK_FULL: ("disk_full", "No space left"),
    Fault.HANG: ("hang", "--hang-timeout"),
    Fault.HANG_HOLDING_THE_LOCK: ("hang", "--hang-timeout"),
}


@pytest.mark.parametrize("fault", REASONS, ids=lambda f: f.name.lower())
def test_a_fault_ends_one_trial_with_its_reason_and_the_search_goes_on(
    tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue = ({"fault": fault.name, "x": 0.5}, {"fault": "NONE", "x": 0.5}, {"fault": "NONE", "x": 0.25})
    spec = study(Mixed(faults=("NONE", fault.name)), n_trials=3, budget={"max_retries": 1}, enqueue=enqueue)
    reason, words = REASONS[fault]
    hangs = reason == "hang"
    runner = fresh_executor(tmp_path, 1, Limits(hang_timeout_s=1000.0)) if hangs else executor(tmp_path)
    found = Search(tmp_path, spec, runner=runner)
    if hangs:
        let_an_hour_pass_once(found, monkeypatch)

    assert found.run() == "budget"
    failed, *others = sorted(found.current, key=trials.root)
    assert (trials.root(failed), failed.state, trials.failure_reason(failed)) == (0, TrialState.FAIL, reason)
    assert words in failed.user_attrs["failure"]["message"]
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2
    n_attempts = {"child_died": 3, "disk_full": 3, "out_of_memory": 2}.get(reason, 1)  # the first of 3 got further
    assert len(found.trials) == 2 + n_attempts


def let_an_hour_pass_once(found: Search, monkeypatch: pytest.MonkeyPatch, of: ModuleType = local) -> None:
    """Put the clock of a module forward while the first trial hangs: after the last epoch that it reports."""
    passed_s = 0.0

    def stop_asked() -> bool:
        nonlocal passed_s
        if ("epoch", 0, light_trainer.FAULT_EPOCH - 1) in found.view.told:
            passed_s = 3600.0
        return False

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed_s, sleep=time.sleep)
    monkeypatch.setattr(of, "time", clock)
    found.coordinator.stop_asked = stop_asked


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.HANG), n_trials=1)
    found = Search(tmp_path, spec, runner=fresh_executor(tmp_path, 1, Limits(trial_timeout_s=1.0)))
    found.run()
    assert trials.failure_reason(found.trials[0]) == "trial_timeout"


def test_a_killed_trial_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Faulty(Fault.KILLED, once=True), n_trials=2))
    assert found.run() == "budget"
    light.assert_whole(found)
    assert [trial.state for trial in found.trials].count(TrialState.FAIL) == 2
    assert [step for trial in found.current for step in sorted(trial.intermediate_values)] == [0, 1, 2] * 2
    retried = [t for t in found.current if trials.history(t)]
    assert all(t.params == found.trials[trials.root(t)].params for t in retried)
    assert all(set(t.constraints) == {"fnr_ceiling"} for t in retried)


def test_a_trial_killed_in_the_middle_of_its_revival_keeps_all_its_reports(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=1))
    found.coordinator.stop_asked = lambda: ("epoch", 0, 0) in found.view.told
    assert found.run() == "interrupted"
    revived = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=1))
    revived.study.ask()  # and no further: what it continues isn't reported yet
    assert revived.run() == "budget"
    light.assert_whole(revived)


def test_memory_that_ran_out_beside_others_is_tried_once_more_alone(tmp_path: Path) -> None:
    enqueue = tuple({"fault": fault, "x": x} for fault, x in (("OUT_OF_MEMORY", 0.5), ("SLOW", 0.1), ("SLOW", 0.2)))
    spec = study(Mixed(faults=("NONE", "SLOW", "OUT_OF_MEMORY")), n_trials=3, enqueue=enqueue)
    found = Search(tmp_path, spec)
    assert found.run() == "budget"
    [alone] = [trial for trial in found.trials if trials.is_alone(trial)]
    assert trials.root(alone) == 0
    assert trials.failure_reason(alone) == "out_of_memory"
    for other in found.current:
        if other.number != alone.number and other.datetime_start and alone.datetime_start:
            assert other.datetime_complete and alone.datetime_complete  # noqa: PT018
            began_later = other.datetime_start > alone.datetime_start
            first, second = (alone, other) if began_later else (other, alone)
            work_began = second.datetime_complete if second is alone else second.datetime_start
            assert first.datetime_complete is not None
            assert work_began is not None
            assert first.datetime_complete <= work_began


def test_a_trainer_that_the_kernel_kills_for_memory_is_one_failed_trial_tried_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = itertools.count()
    monkeypatch.setattr(local, "n_oom_kills", lambda _counter: next(n))  # one more whenever a trainer was killed
    assert_out_of_memory(tmp_path, Fault.KILLED, executor(tmp_path))


@pytest.mark.slow  # it needs a control group, and memory that the machine really has
def test_a_limit_of_the_kernel_has_the_same_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "n_oom_kills", control_groups.n_oom_kills)
    with memory_limit(150 * 2**20) as group:
        runner = executor(tmp_path)
        runner.command = within(group, *light.TRAINER)
        assert_out_of_memory(tmp_path, Fault.HOARD, runner)


def assert_out_of_memory(folder: Path, fault: Fault, runner: LocalExecutor) -> None:
    """Run a search whose first trial is killed twice, and see what is made of it."""
    enqueue = tuple({"fault": of, "x": x} for of, x in ((fault.name, 0.5), ("NONE", 0.1), ("NONE", 0.2)))
    found = Search(folder, study(Mixed(faults=("NONE", fault.name)), n_trials=3, enqueue=enqueue), runner=runner)
    assert found.run() == "budget"
    first, alone = sorted((trial for trial in found.trials if trials.root(trial) == 0), key=lambda t: t.number)
    assert [trials.is_alone(trial) for trial in (first, alone)] == [False, True]
    for trial in (first, alone):
        assert trials.failure_reason(trial) == "out_of_memory"
        assert "the kernel killed the trainer process for want of memory" in trial.user_attrs["failure"]["message"]
    others = [trial.state for trial in found.current if trials.root(trial) != 0]
    assert others == [TrialState.COMPLETE] * 2


def test_the_same_failure_again_and_again_stops_the_study_with_a_diagnosis(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.NAN_LOSS), n_trials=50, budget={"max_same_failures": 3})
    found = Search(tmp_path, spec, runner=executor(tmp_path, 1))
    assert found.run() == "failing"
    assert len(found.trials) == 3
    assert "3 trials failed with 'nan_loss'" in found.coordinator.diagnosis
    assert "learning_rate" in found.coordinator.diagnosis


def test_failures_that_will_be_tried_again_do_not_stop_the_study(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.KILLED, once=True), n_trials=4, budget={"max_same_failures": 2})
    found = Search(tmp_path, spec, runner=executor(tmp_path, 4))
    assert found.run() == "budget"
    assert [event[2] for event in found.view.told if event[0] == "failed"] == ["child_died"] * 4
    light.assert_whole(found)


def test_a_trial_that_gets_further_each_time_uses_up_no_retries(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=1))
    for n_epochs, n_deaths in ((3, 0), (5, 0), (5, 1), (6, 1), (0, 2)):
        trial = found.study.ask()
        for epoch in range(n_epochs):
            trial.report(0.5, epoch)
        trials.fail(found.study, trial.number, trials.LOST, "preempted")
        frozen = found.trials[-1]
        assert trials.n_deaths(frozen, {t.number: t for t in found.trials}) == n_deaths
        trials.requeue(found.study, frozen)
    assert len(trials.history(found.trials[-1])) == 5


def test_a_coordinator_whose_disk_is_full_leaves_the_trial_to_others_for_a_while(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.DISK_FULL, once=True), n_trials=1)
    full = Search(tmp_path, spec)
    full.coordinator.disk_pause_s = 1e6
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(full.run)
        light.wait_for(lambda: any(event[0] == "failed" for event in full.view.told))
        other = Search(tmp_path, spec)
        assert other.run() == "budget"
        assert ended.result() == "budget"
    light.assert_whole(other)


def test_an_executor_that_fails_to_close_leaves_its_trials_queued(tmp_path: Path) -> None:
    runner = executor(tmp_path)
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=2), runner=runner)
    found.coordinator.stop_asked = lambda: ("epoch", 0, 0) in found.view.told
    close = runner.close

    def fail() -> None:
        close()
        raise OSError("no more of this")

    runner.close = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no more"):
        found.run()
    assert {trial.state for trial in found.current} == {TrialState.WAITING}


def test_a_smaller_budget_leaves_the_checkpoints_of_what_others_run(tmp_path: Path) -> None:
    large = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=3), runner=executor(tmp_path, 1))
    endings: list[str] = []

    def launch_smaller() -> bool:
        if ("epoch", 1, 0) in large.view.told and not endings:
            small = Search(tmp_path, light.with_budget(large.spec, trials=1))
            endings.append(small.run())
            assert list((tmp_path / "checkpoints").iterdir())
        return False

    large.coordinator.stop_asked = launch_smaller
    assert large.run() == "budget"
    assert endings == ["budget"]
    light.assert_whole(large)


def test_a_launch_with_a_larger_budget_is_followed_by_those_that_work_already(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=1))
    larger = light.with_budget(found.spec, trials=3)

    def launch_larger() -> bool:
        if ("epoch", 0, 0) in found.view.told and found.spec != larger:
            found.spec = larger
            Search(tmp_path, larger).close()
        return False

    found.coordinator.stop_asked = launch_larger
    assert found.run() == "budget"
    light.assert_whole(found)


def test_a_trial_lost_before_it_drew_has_no_twin(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=4))
    unbroken = Search(tmp_path, study(n_trials=4, name="unbroken"))
    found.study.ask()
    assert found.run() == unbroken.run() == "budget"
    drawn, expected = ([trial.params for trial in sorted(f.current, key=trials.root)] for f in (found, unbroken))
    assert drawn == expected


def test_the_lock_is_waited_for_while_trials_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "MESSAGE_AFTER_S", 0.0)
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=2), runner=executor(tmp_path, 1))
    stack, holding = ExitStack(), list[bool]()

    def hold() -> bool:
        if ("epoch", 0, 0) in found.view.told and not holding:
            holding.append(True)
            stack.enter_context(exclusive(open_storage(found.url)))
        if ("finished", 0) in found.view.told and "Waiting" in capsys.readouterr().err:
            stack.close()
        return False

    found.coordinator.stop_asked = hold
    assert found.run() == "budget"
    light.assert_whole(found)


def test_output_without_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Faulty(Fault.CHATTER), n_trials=1), runner=fresh_executor(tmp_path, 1))
    assert found.run() == "budget"
    assert found.trials[0].state == TrialState.COMPLETE
    assert sum(log.stat().st_size for log in (tmp_path / "logs").iterdir()) < 100 * 2**20


def test_an_interrupted_last_trial_still_runs_at_the_next_launch(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.SLOW), n_trials=1)
    first = Search(tmp_path, spec)
    first.coordinator.stop_asked = lambda: ("epoch", 0, 0) in first.view.told
    assert first.run() == "interrupted"
    assert [trial.state for trial in first.trials] == [TrialState.FAIL, TrialState.WAITING]

    second = Search(tmp_path, spec)
    assert second.run() == "budget"
    light.assert_whole(second)


def test_interruptions_do_not_use_up_the_retries(tmp_path: Path) -> None:
    spec = study(Faulty(Fault.SLOW), n_trials=1, budget={"max_retries": 0})
    for _ in range(3):
        found = Search(tmp_path, spec)
        found.coordinator.stop_asked = lambda told=found.view.told: any(t[0] == "started" for t in told)
        assert found.run() == "interrupted"
    last = Search(tmp_path, spec)
    assert last.run() == "budget"
    light.assert_whole(last)


def test_a_trial_left_between_ask_and_its_first_words_is_found_dead(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=2))
    found.study.ask()
    assert found.run() == "budget"
    light.assert_whole(found)


def test_a_trial_taken_just_before_the_lock_was_lost_is_found(tmp_path: Path) -> None:
    found = Search(tmp_path, study(n_trials=2))
    trials.begin(found.study.ask(), light_trainer.spec(), this_process())
    assert found.run() == "budget"
    light.assert_whole(found)


def test_a_coordinator_taken_for_dead_leaves_the_trial_to_the_other(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Faulty(Fault.SLOW), n_trials=1), runner=executor(tmp_path, 1))

    def other_ends_it() -> bool:
        if ("epoch", 0, 0) in found.view.told and found.trials[0].state == TrialState.RUNNING:
            trials.fail(found.study, 0, trials.LOST, "silent")
        return False

    found.coordinator.stop_asked = other_ends_it
    assert found.run() == "budget"
    assert next(event[2] for event in found.view.told if event[0] == "ended").startswith("continues elsewhere")
    light.assert_whole(found)


@dataclass(frozen=True)
class Narrow:
    def __call__(self, suggest: Suggest) -> TrialSpec:
        return light_trainer.spec(suggest.suggest_categorical("x", [0.1, 0.2]))


def test_a_repeated_point_takes_the_result_of_the_first(tmp_path: Path) -> None:
    found = Search(tmp_path, study(Narrow(), n_trials=8))
    assert found.run() == "budget"
    repeats = [trial for trial in found.trials if "repeats" in trial.user_attrs]
    assert len(repeats) >= 4
    for trial in repeats:
        twin = found.trials[trial.user_attrs["repeats"]]
        assert (trial.value, trial.constraints, trial.params) == (twin.value, twin.constraints, twin.params)


LEVELS = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Levels:
    """A space of three points, each with a fault that comes once."""

    fault: Fault = Fault.NONE

    def __call__(self, suggest: Suggest) -> TrialSpec:
        return light_trainer.spec(suggest.suggest_categorical("x", LEVELS), fault=self.fault, once=True)


def on_a_grid(folder: Path, space: Levels, **more: Any) -> Search:
    spec = study(space, sampler=SamplerSpec(kind="grid"), **more)
    parameters = {"x": Parameter(kind="categorical", choices=LEVELS)}
    return Search(folder, spec, runner=executor(folder, 1), parameters=parameters)


def assert_each_point_was_trained_once(found: Search, n_trials: int) -> None:
    assert len(found.current) == n_trials
    assert all(trial.state == TrialState.COMPLETE for trial in found.current)
    trained = [trial.params["x"] for trial in found.current if "repeats" not in trial.user_attrs]
    assert sorted(trained) == list(LEVELS)


@pytest.mark.parametrize(("fault", "n_trials"), [(Fault.NONE, 5), (Fault.KILLED, 3)], ids=["whole", "killed"])
def test_each_point_of_a_grid_is_trained_once_and_those_beyond_repeat_one(
    tmp_path: Path, fault: Fault, n_trials: int
) -> None:
    found = on_a_grid(tmp_path, Levels(fault), n_trials=n_trials)
    assert found.run() == "budget"
    assert_each_point_was_trained_once(found, n_trials)
    again = on_a_grid(tmp_path, Levels(fault), n_trials=n_trials + 1)
    assert again.run() == "budget"
    assert_each_point_was_trained_once(again, n_trials + 1)


def test_a_trial_lost_before_it_knew_its_place_in_the_grid_is_given_one(tmp_path: Path) -> None:
    found = on_a_grid(tmp_path, Levels(), n_trials=3)
    found.study.ask()
    assert found.run() == "budget"
    assert_each_point_was_trained_once(found, 3)


def test_a_point_lost_before_it_was_drawn_keeps_its_place_in_the_grid(tmp_path: Path) -> None:
    found = on_a_grid(tmp_path, Levels(), n_trials=3)
    found.coordinator.queue.seed_sampler(found.coordinator.queue.ledger())
    found.study.ask()
    assert found.run() == "budget"
    assert_each_point_was_trained_once(found, 3)


def test_a_queued_point_has_no_place_in_the_grid_and_is_repeated_there(tmp_path: Path) -> None:
    found = on_a_grid(tmp_path, Levels(), n_trials=4, enqueue=({"x": 0.2},))
    assert found.run() == "budget"
    assert_each_point_was_trained_once(found, 4)


def test_weak_trials_are_pruned_and_keep_their_constraint(tmp_path: Path) -> None:
    spec = study(n_trials=12, pruner=PrunerSpec(kind="median", n_startup_trials=3, n_warmup_epochs=0))
    found = Search(tmp_path, spec)
    assert found.run() == "budget"
    pruned = [trial for trial in found.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all("fnr_ceiling" in trial.constraints for trial in found.trials)


def test_a_study_stops_when_nothing_improves(tmp_path: Path) -> None:
    spec = study(n_trials=200, budget={"patience_trials": 5})
    found = Search(tmp_path, spec)
    assert found.run() == "stale"
    assert 6 <= len(found.trials) < 200


def test_a_wall_clock_budget_ends_the_launch_and_keeps_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Search(tmp_path, study(Faulty(Fault.HANG, once=True), n_trials=1, budget={"timeout_s": 1000.0}))
    let_an_hour_pass_once(found, monkeypatch, coordinator)
    assert found.run() == "timeout"
    assert found.current[0].state == TrialState.WAITING


def test_a_deterministic_study_does_not_depend_on_which_child_is_faster(tmp_path: Path) -> None:
    outcomes = []
    for name, slow in (("a", "0.0"), ("b", "0.05")):
        folder = tmp_path / name
        folder.mkdir()
        runner = executor(folder, 2)
        fast, slower = dict(runner.environments[0]), dict(runner.environments[0]) | {light_trainer.EPOCH_S: slow}
        runner.environments = [fast, slower] if name == "a" else [slower, fast]
        spec = study(
            n_trials=7,
            deterministic=True,
            sampler=SamplerSpec(n_startup_trials=2),
            pruner=PrunerSpec(n_startup_trials=2, n_warmup_epochs=0),
        )
        found = Search(folder, spec, runner=runner)
        assert found.run() == "budget"
        outcomes.append([(trial.params, trial.state, trial.values) for trial in found.trials])
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("devices", [("-1", "-1"), ("-1", "-1", "-2", "-2")], ids=["one_device", "two_devices"])
def test_a_deterministic_study_does_not_wait_for_a_trial_that_waits_to_be_alone(
    tmp_path: Path, devices: Sequence[str]
) -> None:
    enqueue = tuple({"fault": fault, "x": x} for fault, x in (("OUT_OF_MEMORY", 0.5), ("NONE", 0.1), ("NONE", 0.2)))
    spec = study(
        Mixed(faults=("NONE", "OUT_OF_MEMORY"), epochs=4),
        n_trials=5,
        enqueue=enqueue,
        deterministic=True,
        sampler=SamplerSpec(n_startup_trials=2),
        budget={"max_same_failures": 100},
    )
    outcomes = []
    for epoch_s in (["0.0", "0.05"], ["0.05", "0.0"]):
        folder = tmp_path / epoch_s[0]
        folder.mkdir()
        runner = executor(folder)
        slots = enumerate(devices)
        differing = [
            {"CUDA_VISIBLE_DEVICES": d, light_trainer.EPOCH_S: epoch_s[2 * i // len(devices)]} for i, d in slots
        ]
        environments = [{**runner.environments[0], **each} for each in differing]
        found = Search(folder, spec, runner=replace(runner, environments=environments))
        assert found.run() == "budget"
        assert {trials.failure_reason(trial) for trial in found.trials} == {None, "out_of_memory"}
        outcomes.append([(trial.params, trial.state, trial.values) for trial in found.trials])
    assert outcomes[0] == outcomes[1]


def test_two_coordinators_of_one_process_share_the_work(tmp_path: Path) -> None:
    """Trials wait in their second epoch until both coordinators have one there."""
    both = [Search(tmp_path, study(Faulty(Fault.WAIT), n_trials=6), runner=executor(tmp_path, 1)) for _ in range(2)]

    def let_go() -> bool:
        if all(any(event[0] == "epoch" for event in found.view.told) for found in both):
            (tmp_path / "go").touch()
        return False

    for found in both:
        found.coordinator.stop_asked = let_go
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Search.run, both)) == ["budget"] * 2
    for found in both:
        assert {event[0] for event in found.view.told} == {"started", "epoch", "finished"}
    assert [trial.state for trial in both[0].trials] == [TrialState.COMPLETE] * 6
    light.assert_whole(both[0])


def test_a_trial_left_by_a_coordinator_of_this_process_is_found(tmp_path: Path) -> None:
    """As a second Ctrl-C in a notebook leaves it."""
    spec = study(Faulty(Fault.SLOW), n_trials=1)
    first = Search(tmp_path, spec)

    def interrupt() -> None:
        raise KeyboardInterrupt

    first.coordinator.stop_asked = lambda: ("epoch", 0, 0) in first.view.told
    first.coordinator._abandon = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert first.trials[0].state == TrialState.RUNNING
    second = Search(tmp_path, spec)
    assert second.run() == "budget"
    light.assert_whole(second)
