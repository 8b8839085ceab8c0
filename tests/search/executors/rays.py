"""Ray clusters of a test's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

N_STARTS = 4  # a node has 30 s to start, which Ray fixes; on a busy machine that is too short at times


@contextmanager
def cluster(n_cpus: int) -> Iterator[Any]:
    """Yield a cluster of a head with `n_cpus`, gone afterwards; not connected yet."""
    from ray.cluster_utils import Cluster

    made = started(
        lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": n_cpus, "include_dashboard": False})
    )
    try:
        yield made
    finally:
        made.shutdown()


def started(start: Callable[[], Any]) -> Any:
    """Return what `start` does, tried again where a node was too slow."""
    for more in reversed(range(N_STARTS)):
        try:
            return start()
        except Exception as error:
            if not more or "timed out during startup" not in str(error):
                raise
    raise AssertionError("the last start returns or raises")
