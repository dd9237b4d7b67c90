"""How far latency predictions are to be trusted for a model of one's own, which only has ``build``.

    python -m tests.benchmarks.latency_own_model

Profiles the tests' ResNet and ViT spaces: 30 networks to fit the correction, 20 unseen ones to judge it;
and times looking up archs. About two minutes on a quiet machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

from nas.costs.model.fit import MeasurePlan
from runners.tables.layers import measure_on
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.spaces import resnet_space, vit_space

PLAN = MeasurePlan(fit_networks=30, check_networks=20, seconds_each=0.2)
LOOKED_UP = 100_000


def main() -> None:
    """Prints a line for each space."""
    torch.set_num_threads(1)
    profile = load_profile("cpu-ort")
    target = open_target(profile)
    for make in (resnet_space, vit_space):
        space = make()
        table = Path(mkdtemp()) / "table.parquet"
        measured = measure_on(target, profile, space, table, plan=PLAN)
        rows = space.sample(LOOKED_UP, np.random.default_rng(0))
        began = time.perf_counter()
        measured.model.predict(rows)
        each_us = (time.perf_counter() - began) / LOOKED_UP * 1e6
        print(f"{space.name}: {measured.check.summary()}; {each_us:.1f} µs an arch")


if __name__ == "__main__":
    main()
