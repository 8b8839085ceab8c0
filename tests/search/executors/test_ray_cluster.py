"""A search on a Ray cluster of two nodes: one dies in mid-trial, one can't see the folder of arrays."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pneumo_core.specs import DataSpec
from pneumo_core.wire import EpochDone, Ready, TrialDone
from search.executors.devices import Machine
from search.executors.local import Limits
from search.home import Home
from search.prepared import read_source
from studies.spec import SourceSpec
from tests.search import light
from tests.search.executors import rays
from tests.search.executors.test_executors import run, task
from tests.search.light import Faulty, Search, study
from tests.search.light_trainer import Fault

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")
from search.executors import ray_cluster, station  # noqa: E402
from search.executors.station import Station  # noqa: E402


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster of a head with one core, or as many as the test says."""
    with rays.cluster(getattr(request, "param", 1)) as made:
        made.connect(namespace="pneumo")
        yield made
        ray.shutdown()


@pytest.mark.timeout(900)
def test_the_trials_of_a_lost_node_go_on_elsewhere(tmp_path: Path, cluster: Any) -> None:
    second = rays.started(lambda: cluster.add_node(num_cpus=1))
    cluster.wait_for_nodes()
    environment = {"PYTHONPATH": str(light.ROOT), light.TAG: str(tmp_path)}
    runner = ray_cluster.RayExecutor(
        n_slots=2, share=ray_cluster.Share(n_cpus=1.0), environment=environment, command=light.TRAINER, limits=Limits()
    )
    found = Search(tmp_path, study(Faulty(Fault.WAIT), n_trials=4), runner=runner)
    lost: list[int] = []

    def lose_a_node() -> bool:
        """Take one node away once each has a trial in its second epoch, where both wait until one is lost.

        An actor outlives its node by a moment, in which its trial could still end.
        """
        if not lost and {("epoch", 0, 0), ("epoch", 1, 0)} <= set(found.view.told):
            lost.append(1)
            cluster.remove_node(second, allow_graceful=False)
        if any(event[0] == "failed" for event in found.view.told):
            (tmp_path / "go").touch()
        return False

    found.coordinator.stop_asked = lose_a_node
    assert found.run() == "budget"
    assert lost
    light.assert_whole(found)
    failures = [event for event in found.view.told if event[0] == "failed"]
    assert [(event[2], "node is gone" in event[3]) for event in failures] == [("child_died", True)]
    light.wait_for(lambda: not light.processes(str(tmp_path)))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_node_that_cannot_see_the_arrays_has_them_from_the_store(
    tmp_path: Path, cluster: Any, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rays.started(lambda: cluster.add_node(num_cpus=1))
    cluster.wait_for_nodes()
    n_put: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda given: n_put.append(set(given)) or put(given))
    folder = read_source(SourceSpec(source=str(phantoms)), Home(tmp_path)).arrays_for(DataSpec(image_size_px=16))
    environment = {"PYTHONPATH": str(light.ROOT)}
    executor = ray_cluster.RayExecutor(
        n_slots=2, share=ray_cluster.Share(n_cpus=0.5), environment=environment, command=light.TRAINER, limits=Limits()
    )

    def trained(number: int) -> dict[str, str]:
        executor.submit(replace(task(tmp_path, number), arrays=str(folder)))
        done = run(executor)[-1]
        assert isinstance(done, TrialDone)
        return done.result.environment

    try:
        seen = trained(0)
        assert seen["arrays"] == str(folder)
        folder.rename(tmp_path / "elsewhere")
        unseen = [trained(number) for number in (1, 2)]
        [copy] = {Path(each["arrays"]) for each in unseen}
        assert {each["sum"] for each in unseen} == {seen["sum"]}
        assert copy != folder
        sent = {f"{kind}_{role}" for kind in ("x", "y", "images") for role in ("train", "validation")} | {"meta"}
        assert {file.stem for file in copy.iterdir()} == sent
        assert [{Path(name).stem for name in names} for names in n_put] == [sent]
    finally:
        executor.close()
    light.wait_for(lambda: not copy.exists())


@pytest.fixture
def one_gpu() -> Iterator[None]:
    """A Ray of this machine that says it had a GPU."""
    ray_cluster.join(None, num_cpus=2, num_gpus=1, include_dashboard=False, namespace="pneumo")
    yield
    ray.shutdown()


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_gpu")
def test_a_trial_that_must_be_alone_on_a_shared_gpu_gets_all_of_it_when_the_others_ended(tmp_path: Path) -> None:
    executor = ray_cluster.connect(None, Machine(trials_per_gpu=2, backend="jax"))
    executor.command = light.TRAINER
    executor.environment = {**executor.environment, "PYTHONPATH": str(light.ROOT)}
    try:
        executor.submit(task(tmp_path, 1, fault=Fault.OUT_OF_MEMORY))
        executor.submit(task(tmp_path, 2, fault=Fault.WAIT))
        seen: set[tuple[int, str]] = set()
        while not {(1, "error"), (2, "epoch")} <= seen:
            for event in executor.poll(0.5):
                if isinstance(event, EpochDone):
                    executor.reply(event.number, stop=False)
                if not isinstance(event, Ready):
                    seen.add((event.number, event.kind))
        executor.submit(task(tmp_path, 3), alone=True)
        (tmp_path / "go").touch()
        done = {
            event.number: event.result.environment["share"] for event in run(executor) if isinstance(event, TrialDone)
        }
        assert done == {2: "0.45", 3: "0.90"}
    finally:
        executor.close()
    assert ray.is_initialized()  # whoever connected keeps the connection


def test_a_second_search_of_one_process_connects_anew() -> None:
    for _ in range(2):
        executor = ray_cluster.connect(None, Machine(workers=1))
        executor.close()
        assert not ray.is_initialized()


def test_what_searches_left_that_are_gone_is_removed_by_the_next(tmp_path: Path) -> None:
    living, gone, mine = (tmp_path / f"pneumo-{name}" for name in ("living", "gone", "mine"))
    with station.claim(living):
        station.claim(gone).close()
        (gone / "arrays").mkdir()
        with station.claim(mine), station.claim(mine):
            assert {folder.name for folder in tmp_path.iterdir()} == {"pneumo-living", "pneumo-mine"}


def test_a_checkpoint_that_only_one_node_sees_goes_when_its_trial_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Station({"PYTHONPATH": str(light.ROOT)}, light.TRAINER, Limits(), "pneumo-here")
    given = replace(task(tmp_path, 1), checkpoint=str(tmp_path / "elsewhere" / "1"))
    made.submit(given, [None])
    kinds: list[str] = []
    while "done" not in kinds:
        for event in made.poll(0.5):
            kinds.append(event.kind)
            if isinstance(event, EpochDone):
                made.reply(event.number, stop=False)
                light.wait_for(lambda: bool(list((tmp_path / "pneumo-here" / "checkpoints").glob("1*"))))
    left = {file.name for file in (tmp_path / "pneumo-here" / "checkpoints").iterdir()}
    assert left <= {"1.misbehaved"}  # the light trainer's own note
    made.leave()
    made._alive.close()
    assert not (tmp_path / "pneumo-here").exists()


@pytest.mark.parametrize("n_deaths", [2, 3])
def test_a_client_server_that_dies_while_starting_is_asked_for_again(
    n_deaths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def init(address: str, **options: Any) -> None:
        asked.append(address)
        if len(asked) <= n_deaths:
            raise ConnectionAbortedError("Initialization failure from server")

    monkeypatch.setattr(ray, "init", init)
    if n_deaths < ray_cluster.N_JOINS:
        ray_cluster.join("ray://head:10001", namespace="pneumo")
    else:
        with pytest.raises(ConnectionAbortedError):
            ray_cluster.join("ray://head:10001", namespace="pneumo")
    assert asked == ["ray://head:10001"] * 3
