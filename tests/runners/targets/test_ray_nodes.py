"""A device as a Ray resource: measured on the node that has it, here a second raylet on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.costs.layers.probes import layer_probes
from nas.costs.table.build import build_table
from runners.measuring.layers import exporter, table_header
from runners.targets.profile import load_profile
from runners.targets.ray_nodes import RayDevice, ray_measurers
from runners.targets.target import open_device
from search_spaces.spaces.presets import preset


@pytest.fixture
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.device = cluster.add_node(num_cpus=1, resources={"cpu-ort": 1})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_with_the_resource_measures_a_table(cluster: Any, tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    profile = load_profile("cpu-ort")
    here = open_device(profile)
    with pytest.raises(ValueError, match="ray start"):
        ray_measurers(load_profile("cpu-torch"))
    device = RayDevice(profile, cluster.address)
    assert len(device.measurers) == 1
    assert device.identity() == here.identity()
    table = build_table(
        layer_probes(space)[:5],
        table_header(device, space),
        export=exporter(device),
        measurers=device.measurers,
        path=tmp_path / "table.parquet",
        seconds_each=0.02,
    )
    assert (table.rows.status == "measured").all()
    cluster.remove_node(cluster.device)
    with pytest.raises(OSError, match="went away; what was measured is kept, run the same command again"):
        device.measure([b"x"], budget_s=0.1)
