"""A device as a Ray resource: measured on the node that has it, here a second raylet on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.costs.layers.probes import layer_probes
from nas.costs.table.build import build_table
from runners.tables.layers import exporter, table_header
from runners.targets.profile import load_profile
from runners.targets.ray_nodes import RayTarget
from runners.targets.target import open_target
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
    here = open_target(profile)
    with pytest.raises(ValueError, match="ray start"):
        RayTarget(load_profile("cpu-torch"), cluster.address)
    target = RayTarget(profile, cluster.address)
    assert target.facts.devices == 1
    assert target.facts == replace(here.facts, local=False)
    table = build_table(
        layer_probes(space)[:5],
        table_header(target, space),
        export=exporter(target),
        measure=target.measure,
        path=tmp_path / "table.parquet",
        seconds_each=0.02,
    )
    assert (table.lines.status == "measured").all()
    layer, file = space.layers[0], tmp_path / "layer.onnx"
    target.export(layer.build().eval(), layer.input_shape, file)
    images = np.zeros((3, *layer.input_shape), np.float32)
    np.testing.assert_allclose(target.run(file, images), here.run(file, images), atol=1e-6)
    assert target.operator_times(file)
    cluster.remove_node(cluster.device)
    with pytest.raises(OSError, match="went away; what was measured is kept, run the same command again"):
        target.measure([file], budget_s=0.1)
