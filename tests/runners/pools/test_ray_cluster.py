"""A cluster of two nodes, each with a raylet of its own on this machine; one of them is killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from nas.search import search
from results.files import read_lines
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import import_ray
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from tests.runners.pools import evaluators

# A dead node is noticed within two seconds; Ray's own settings take some fifteen.
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


def test_a_node_killed_during_the_search_loses_and_repeats_nothing(tmp_path: Path) -> None:
    ray = import_ray()
    from ray.cluster_utils import Cluster

    space = SearchSpace("x", [Choice("x", tuple(range(30)))], build=lambda arch: nn.Identity())
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK},
    )
    try:
        node = cluster.add_node(num_cpus=1)

        def kill(done: int, *_: object) -> None:
            if done == 10:
                cluster.remove_node(node, allow_graceful=False)

        weights = np.arange(30, dtype=np.float32)
        with RayPool(evaluators.on_node, {"weights": weights}, workers=2, address=cluster.address) as pool:
            found = search(
                space,
                objectives={"accuracy": "max"},
                budget=30,
                searcher="random",
                pool=pool,
                log=tmp_path / "log.jsonl",
                on_trial=kill,
            ).trials
        assert not ray.is_initialized(), "the pool leaves the cluster that it joined"
    finally:
        cluster.shutdown()
    assert sorted(found["x"]) == list(range(30)), "none lost, none twice"
    assert (found["status"] == "ok").all()
    assert (found["accuracy"] == found["x"]).all()
    nodes = [line["scores"]["node"] for line in read_lines(tmp_path / "log.jsonl")]
    assert len(set(nodes[:10])) == 2, "both nodes worked"
    assert len(set(nodes[-10:])) == 1, "the one that is left went on"
