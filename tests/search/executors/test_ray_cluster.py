"""A search on a Ray cluster of two nodes: one dies in mid-trial, one can't see the folder of arrays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pneumo_core.specs import DataSpec
from pneumo_core.wire import TrialDone
from search.executors.local import Limits
from search.home import Home
from search.prepared import read_source
from studies.spec import SourceSpec
from tests.search import light, light_trainer
from tests.search.executors.test_executors import run, task
from tests.search.light import Search, study

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster of a head with one core, or as many as the test says."""
    from ray.cluster_utils import Cluster

    n_cpus = getattr(request, "param", 1)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": n_cpus, "include_dashboard": False})
    made.connect(namespace="pneumo")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.timeout(300)
def test_the_trials_of_a_lost_node_go_on_elsewhere(tmp_path: Path, cluster: Any) -> None:
    from search.executors.ray_cluster import RayExecutor, Share

    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    environment = {"PYTHONPATH": str(light.ROOT), light_trainer.EPOCH_S: "0.2", light.TAG: str(tmp_path)}
    runner = RayExecutor(
        n_slots=2, share=Share(n_cpus=1.0), environment=environment, command=light.TRAINER, limits=Limits()
    )
    found = Search(tmp_path, study(n_trials=4), runner=runner)
    lost: list[int] = []

    def lose_a_node() -> bool:
        if not lost and {("epoch", 0, 0), ("epoch", 1, 0)} <= set(found.view.told):
            lost.append(1)
            cluster.remove_node(second, allow_graceful=False)
        return False

    found.coordinator.stop_asked = lose_a_node
    assert found.run() == "budget"
    assert lost
    light.assert_whole(found)
    failures = [event for event in found.view.told if event[0] == "failed"]
    assert [(event[2], "node is gone" in event[3]) for event in failures] == [("child_died", True)]
    light.wait_for(lambda: not light.processes(str(tmp_path)), 20)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_node_that_cannot_see_the_arrays_has_them_from_the_store(
    tmp_path: Path, cluster: Any, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.executors.ray_cluster import RayExecutor, Share

    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    n_put: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda given: n_put.append(set(given)) or put(given))
    folder = read_source(SourceSpec(source=str(phantoms)), Home(tmp_path)).arrays_for(DataSpec(image_size_px=16))
    environment = {"PYTHONPATH": str(light.ROOT)}
    executor = RayExecutor(
        n_slots=2, share=Share(n_cpus=0.5), environment=environment, command=light.TRAINER, limits=Limits()
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


@pytest.mark.parametrize("n_deaths", [2, 3])
def test_a_client_server_that_dies_while_starting_is_asked_for_again(
    n_deaths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.executors import ray_cluster

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
