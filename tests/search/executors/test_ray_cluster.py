"""A search on a Ray cluster of two nodes, one of which dies in mid-trial."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.executors.local import Limits
from tests.search import light, light_trainer
from tests.search.light import Search, study

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
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
