"""A cluster of two nodes, each with a raylet of its own on this machine; one of them is killed."""

from __future__ import annotations

import numpy as np

from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import import_ray
from tests.runners.pools import evaluators

# A dead node is noticed within two seconds; Ray's own settings take some fifteen.
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


def test_a_node_killed_during_the_search_loses_and_repeats_nothing() -> None:
    ray = import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK},
    )
    try:
        node = cluster.add_node(num_cpus=1)
        weights = np.arange(30, dtype=np.float32)
        with RayPool(evaluators.on_node, {"weights": weights}, workers=2, address=cluster.address) as pool:
            for ticket in range(30):
                pool.submit(ticket, {"x": ticket})
            before = [pool.next() for _ in range(10)]
            cluster.remove_node(node, allow_graceful=False)
            after = [pool.next() for _ in range(20)]
        assert not ray.is_initialized(), "the pool leaves the cluster that it joined,"
        assert (
            cluster.head_node.all_processes_alive()
            if hasattr(cluster.head_node, "all_processes_alive")
            else 1
        )
    finally:
        cluster.shutdown()
    assert sorted(outcome.ticket for outcome in before + after) == list(range(30))
    assert all(o.scores and o.scores["accuracy"] == o.ticket for o in before + after)
    assert len({o.scores["node"] for o in before if o.scores}) == 2, "both nodes worked"
    assert len({o.scores["node"] for o in after[-10:] if o.scores}) == 1, "the one that is left went on"
