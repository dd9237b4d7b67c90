"""A supernet is trained for a limit on a device: what it does without, and what others are told of that."""

from __future__ import annotations

import json
from pathlib import Path

from runners.targets.profile import SHIPPED
from tests.end_to_end.command import Call, settings

SMALL = (
    "measure.profile=mcu",
    "measure.fit_networks=6",
    "measure.check_networks=3",
    "space.mixers=['identity', 'depthwise']",
    "train.epochs=1",
    "search.latency_ms=2",
    "search.budget=6",
    "search.searchers=[{ kind = 'nsga2', population = 4 }]",
    "search.workers=1",
    "search.calibration_images=64",
)


def test_a_supernet_of_a_narrowed_space_outlives_its_limit_and_its_device(call: Call, tmp_path: Path) -> None:
    assert call("train", "digits", "--out", "run", *settings(*SMALL)).code == 0
    run, log = tmp_path / "run", tmp_path / "run" / "log.txt"
    supernet = run / "train" / "supernet.safetensors"
    trained = supernet.stat().st_mtime_ns
    record = json.loads((run / "train" / "space.json").read_text())
    assert record["kept"]
    assert record["networks_left"] < record["networks"]
    for name in record["kept"]:
        assert name in log.read_text()

    refused = call("train", "--out", "run", *settings("search.latency_ms=1e-4"))
    assert refused.code == 1
    assert "the fastest takes" in refused.error
    assert supernet.stat().st_mtime_ns == trained, (
        "a training is not put aside for a limit that nothing meets"
    )

    # A looser limit: the same space, and what it lacks is said.
    assert call("search", "--out", "run").code == 0
    assert "narrowed for" not in log.read_text()
    assert call("search", "--out", "run", *settings("search.latency_ms=3")).code == 0
    assert "narrowed for 2 ms on mcu" in log.read_text()
    assert "quarry train --out run --set search.latency_ms=3" in log.read_text()
    front = json.loads((run / "search" / "front.json").read_text())
    for entry in (*front["front"], front["largest"]):
        assert all(entry["arch"][name] in values for name, values in record["kept"].items())
    assert front["largest"]["measured_ms"] <= 4 * record["limit_ms"]

    # Another device, twice as fast: nothing is trained again.
    faster = (SHIPPED / "mcu.toml").read_text().replace('name = "mcu"', 'name = "faster"')
    faster = faster.replace("240e6", "480e6").replace("400e6", "800e6")
    (tmp_path / "faster.toml").write_text(faster)
    assert call("measure", "--out", "run", *settings("measure.profile=faster.toml")).code == 0
    assert call("search", "--out", "run", *settings("search.latency_ms=1")).code == 0
    assert "some may take 1 ms or less on faster" in log.read_text()
    assert supernet.stat().st_mtime_ns == trained


def test_limits_that_nothing_meets_are_told_before_the_training(call: Call, tmp_path: Path) -> None:
    """Not of the latency alone: a search would say so, hours later."""
    small = (SHIPPED / "mcu.toml").read_text().replace('name = "mcu"', 'name = "small"')
    (tmp_path / "small.toml").write_text(
        small.replace("peak_memory_bytes = 1_000_000", "peak_memory_bytes = 9")
    )
    refused = call("train", "digits", "--out", "run", *settings(*SMALL, "measure.profile=small.toml"))
    assert refused.code == 1
    assert "peak_memory_bytes" in refused.error
    assert "quarry train --out run --set search.latency_ms" in refused.error
    assert not (tmp_path / "run" / "train" / "space.json").exists()
    assert not (tmp_path / "run" / "train" / "checkpoint.safetensors").exists()
