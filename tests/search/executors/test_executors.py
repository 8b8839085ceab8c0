"""One contract for whatever runs trials: child processes, Ray actors, and a fake in memory."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from pneumo_core.result import TrialResult
from pneumo_core.specs import ObjectiveSpec
from pneumo_core.wire import EpochDone, Ready, RunTrial, Task, TrialDone, TrialError
from search.executors import local as local_executor
from search.executors.devices import gpu_environment
from search.executors.local import Limits, LocalExecutor
from search.executors.protocol import Event, Executor
from tests.search import light, light_trainer
from tests.search.light_trainer import Fault

N_SLOTS = 2
ADDRESS = "LIGHT_RAY"  # environment variable: the cluster to use, by default one of the tests' own
Make = Callable[[Path, Limits], Executor]


@dataclass
class FakeExecutor:
    """An executor without processes: every poll moves each trial that isn't waiting on by one epoch."""

    n_slots: int = N_SLOTS
    _tasks: dict[int, RunTrial] = field(default_factory=dict)
    _epochs: dict[int, int] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)
    _stopped: set[int] = field(default_factory=set)

    @property
    def n_free(self) -> int:
        return self.n_slots - len(self._tasks)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        assert isinstance(task, RunTrial)
        self._tasks[task.number], self._epochs[task.number] = task, 0

    def reply(self, number: int, *, stop: bool) -> None:
        self._waiting.discard(number)
        if stop:
            self._stopped.add(number)

    def cancel(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._waiting.discard(number)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        return [self._next(number) for number in list(self._tasks) if number not in self._waiting]

    def close(self) -> None:
        self._tasks.clear()

    def _next(self, number: int) -> Event:
        task, epoch = self._tasks[number], self._epochs[number]
        if task.spec.model.units[0] != Fault.NONE and epoch == light_trainer.FAULT_EPOCH:
            del self._tasks[number]
            return TrialError(number=number, reason="child_died", message="as the spec says")
        if epoch == task.spec.train.epochs or number in self._stopped:
            del self._tasks[number]
            return TrialDone(number=number, result=self._result(task, epoch, number in self._stopped))
        self._waiting.add(number)
        self._epochs[number] += 1
        value = light_trainer.value(task.spec, light_trainer.chain(task.seed, epoch + 1))
        return EpochDone(number=number, epoch=epoch, metrics={"pruning_metric": value})

    def _result(self, task: RunTrial, n_epochs: int, pruned: bool) -> TrialResult:
        state = light_trainer.chain(task.seed, n_epochs)
        reached = light_trainer.value(task.spec, state)
        return light_trainer.result(task.spec, state, reached, "pruned" if pruned else "completed", ())


def fake(folder: Path, limits: Limits) -> Executor:
    return FakeExecutor()


def local(folder: Path, limits: Limits) -> Executor:
    return light.fresh_executor(folder, N_SLOTS, limits)


def on_ray(folder: Path, limits: Limits) -> Executor:
    from search.executors.ray_cluster import RayExecutor, Share

    environment = {"PYTHONPATH": str(light.ROOT)}
    share = Share(n_cpus=1.0)  # all that the cluster has room for
    return RayExecutor(n_slots=N_SLOTS, share=share, environment=environment, command=light.TRAINER, limits=limits)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")
    from search.executors import ray_cluster

    address = os.environ.get(ADDRESS)
    ray_cluster.join(address or "local", **({} if address else {"num_cpus": 2, "include_dashboard": False}))
    yield
    ray.shutdown()


@pytest.fixture(params=["fake", "local", "ray"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return {"fake": fake, "local": local, "ray": on_ray}[request.param]


@pytest.fixture
def executor(make: Make, tmp_path: Path) -> Iterator[Executor]:
    made = make(tmp_path, Limits())
    yield made
    made.close()


def task(folder: Path, number: int, *, fault: Fault = Fault.NONE, epochs: int = 3) -> RunTrial:
    return RunTrial(
        number=number,
        spec=light_trainer.spec(0.01, fault=fault, epochs=epochs),
        objective=ObjectiveSpec(),
        seed=number,
        arrays=str(folder),
        checkpoint=str(folder / f"checkpoint-{number}"),
    )


def run(executor: Executor, *, stop_at: int | None = None, timeout_s: float = 240) -> list[Event]:
    """Answer every epoch until nothing is running, and return all that happened."""
    happened: list[Event] = []
    deadline_s = time.monotonic() + timeout_s
    while executor.n_free < executor.n_slots:
        assert time.monotonic() < deadline_s, happened
        for event in executor.poll(0.5):
            happened.append(event)
            if isinstance(event, EpochDone):
                executor.reply(event.number, stop=event.epoch == stop_at)
    return [event for event in happened if not isinstance(event, Ready)]


def test_every_trial_reports_its_epochs_in_order_and_ends_once(executor: Executor, tmp_path: Path) -> None:
    for number in range(N_SLOTS):
        executor.submit(task(tmp_path, number))
    events = run(executor)
    for number in range(N_SLOTS):
        mine = [event for event in events if event.number == number]
        assert [event.epoch for event in mine[:-1] if isinstance(event, EpochDone)] == [0, 1, 2]
        assert isinstance(mine[-1], TrialDone)
        assert mine[-1].result.n_parameters == light_trainer.chain(number, 3)


def test_slots_are_free_again_when_trials_end(executor: Executor, tmp_path: Path) -> None:
    assert executor.n_free == executor.n_slots == N_SLOTS
    for number in range(5):
        executor.submit(task(tmp_path, number))
        assert executor.n_free == N_SLOTS - 1
        assert len(run(executor)) == 4
        assert executor.n_free == N_SLOTS


def test_a_trial_told_to_stop_ends_as_pruned(executor: Executor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, 7, epochs=50))
    *epochs, done = run(executor, stop_at=1)
    assert len(epochs) == 2
    assert isinstance(done, TrialDone)
    assert done.result.stopped == "pruned"


def test_a_dead_trainer_is_one_failed_trial_and_the_slot_goes_on(executor: Executor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, 1, fault=Fault.KILLED))
    executor.submit(task(tmp_path, 2))
    ends = {event.number: event for event in run(executor) if isinstance(event, TrialDone | TrialError)}
    assert isinstance(ends[2], TrialDone)
    assert isinstance(ends[1], TrialError)
    assert ends[1].reason == "child_died"
    executor.submit(task(tmp_path, 3))
    assert isinstance(run(executor)[-1], TrialDone)


def test_nothing_is_heard_of_a_cancelled_trial(executor: Executor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, 1, epochs=1000))
    executor.submit(task(tmp_path, 2))
    executor.cancel(1)
    assert {event.number for event in run(executor)} == {2}
    executor.submit(task(tmp_path, 4))
    assert isinstance(run(executor)[-1], TrialDone)


def test_a_trial_alone_ends_like_any_other(executor: Executor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, 1))
    executor.submit(task(tmp_path, 2), alone=True)
    ends = [event.number for event in run(executor) if isinstance(event, TrialDone)]
    assert sorted(ends) == [1, 2]


def test_a_trial_alone_has_the_room_of_those_that_ended(executor: Executor, tmp_path: Path) -> None:
    for number in range(N_SLOTS):
        executor.submit(task(tmp_path, number))
    run(executor)
    executor.submit(task(tmp_path, N_SLOTS), alone=True)
    assert isinstance(run(executor)[-1], TrialDone)


def test_closing_ends_what_runs_and_may_be_repeated(executor: Executor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, 1, epochs=1000))
    executor.close()
    executor.close()


@pytest.mark.parametrize("make", ["local", "ray"], indirect=True)
def test_limits_hold_wherever_the_trainer_runs(make: Make, tmp_path: Path) -> None:
    executor = make(tmp_path, Limits(hang_timeout_s=1.0))
    executor.submit(task(tmp_path, 1, fault=Fault.HANG))
    [*_, error] = run(executor)
    assert isinstance(error, TrialError)
    assert error.reason == "hang"
    executor.close()


def test_logs_that_someone_deletes_meanwhile_are_written_anew(tmp_path: Path) -> None:
    executor = light.fresh_executor(tmp_path, 1)
    ends = []
    for number, fault in enumerate((Fault.NONE, Fault.EXIT, Fault.NONE)):
        executor.submit(task(tmp_path, number, fault=fault))
        shutil.rmtree(tmp_path / "logs", ignore_errors=True)  # a warm trainer makes none
        ends.append(run(executor)[-1].kind)
    executor.close()
    assert ends == ["done", "error", "done"]


def test_a_child_is_replaced_after_so_many_trials(tmp_path: Path) -> None:
    assert n_children(tmp_path, Limits(trials_per_child=2), [Fault.NONE] * 6) == 3


def test_a_child_whose_memory_grows_is_replaced(tmp_path: Path) -> None:
    hoard = [Fault.NONE, Fault.HOARD, Fault.NONE, Fault.NONE]
    assert n_children(tmp_path, Limits(), hoard) == 2
    assert n_children(tmp_path, Limits(memory_growth=1000.0), hoard) == 1


def n_children(folder: Path, limits: Limits, faults: Sequence[Fault]) -> int:
    executor: LocalExecutor = light.fresh_executor(folder, 1, limits)
    pids = set()
    for number, fault in enumerate(faults):
        executor.submit(task(folder, number, fault=fault))
        [done] = [event for event in run(executor) if isinstance(event, TrialDone)]
        pids.add(done.result.environment["pid"])
    executor.close()
    return len(pids)


def test_a_trial_that_waits_for_its_answer_neither_hangs_nor_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(local_executor, "time", SimpleNamespace(monotonic=lambda: now_s))
    executor = light.fresh_executor(tmp_path, 1, Limits(hang_timeout_s=100.0, trial_timeout_s=1000.0))
    executor.submit(task(tmp_path, 1))
    ended: list[Event] = []
    while not ended:
        for event in executor.poll(0.5):
            if isinstance(event, EpochDone):
                now_s += 5000.0  # the others of its round
                assert executor.poll(0.0) == []
                executor.reply(event.number, stop=False)
            elif not isinstance(event, Ready):
                ended.append(event)
    executor.close()
    assert [event.kind for event in ended] == ["done"]


def test_a_trial_alone_on_a_shared_gpu_may_take_all_its_memory(tmp_path: Path) -> None:
    shared = {"CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": str(light.ROOT), **gpu_environment(2)}
    executor = LocalExecutor(environments=[shared] * 2, logs=tmp_path / "logs", command=light.TRAINER)
    shares = []
    try:
        for alone in (True, False):
            executor.submit(task(tmp_path, len(shares)), alone=alone)
            shares += [e.result.environment["share"] for e in run(executor) if isinstance(e, TrialDone)]
    finally:
        executor.close()
    assert shares == ["0.90", "0.45"]


def test_two_containers_with_the_same_process_number_write_different_logs(tmp_path: Path) -> None:
    for _ in range(2):
        executor = light.fresh_executor(tmp_path, 1)
        executor.submit(task(tmp_path, 1))
        run(executor)
        executor.close()
    assert len(list((tmp_path / "logs").iterdir())) == 2
