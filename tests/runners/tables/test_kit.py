"""The kit: what another device needs, run there with nothing of ours, comes back as a table."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.costs.layers.probes import layer_probes, network_probes
from nas.costs.layers.sums import SlotSums
from nas.costs.model.fit import MeasurePlan, fit_table
from runners.tables.commands import import_table, make_kit, show
from runners.tables.kit import kit_seconds, read_kit, write_kit
from runners.tables.layers import exporter, measure_on, table_header
from runners.targets.imported import ImportedTarget
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset

# Finds the three packages a device has, and of ours what the kit holds: any other import fails.
GUARD = """
import sys, importlib.abc
class OnlyRuntime(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        ours = {"nas", "runners", "search_spaces", "compress"}
        if top in ours | {"torch", "onnx", "pandas", "pyarrow"}:
            raise ImportError(f"the kit imports {name}")
sys.meta_path.insert(0, OnlyRuntime())
import os, runpy
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))  # as `python measure.py` does
runpy.run_path(sys.argv[0], run_name="__main__")
assert sys.modules["results.timing"].__file__.startswith(sys.path[0])
"""


def test_a_kit_measures_with_the_runtime_alone_and_comes_back_as_a_table(tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    profile = load_profile("cpu-ort")
    target = open_target(profile)
    rows = space.sample(2, np.random.default_rng(0))
    probes = [*layer_probes(space)[:14], *network_probes(space, rows)]
    kit = write_kit(
        tmp_path / "kit",
        probes,
        table_header(target, space),
        profile,
        export=exporter(target),
        seconds_each=0.02,
    )
    with pytest.raises(FileNotFoundError, match=r"run measure\.py of this kit"):
        read_kit(kit)
    guard = tmp_path / "guard.py"
    guard.write_text(GUARD)
    # -I: neither this folder nor PYTHONPATH can lend it a module; the guard refuses the rest of ours.
    command = [sys.executable, "-I", str(guard), str(kit / "measure.py")]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "measured" not in again.stdout  # nothing was left to do
    written = (kit / "measured.jsonl").read_text()
    (kit / "measured.jsonl").write_text(written[:-20])  # as a kill leaves it
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "1 of 1 measured" in again.stdout
    table = import_table(kit, tmp_path / "table.parquet", space=space, say=lambda _: None)
    assert set(table.lines.status) == {"measured"}
    with pytest.raises(ValueError, match="holds 2 whole networks measured once and 0 measured twice"):
        fit_table(table, SlotSums(space), 0.95)
    assert sorted(table.lines.key) == sorted(probe.key for probe in probes)
    lines: list[str] = []
    show(tmp_path / "table.parquet", say=lines.append)
    assert any("14 x layer measured" in line for line in lines)
    other = preset("digits", classes=9, input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match="was measured for space"):
        import_table(kit, tmp_path / "t.parquet", space=other)
    with pytest.raises(ValueError, match="is not empty"):
        write_kit(kit, probes, table.header, profile, export=exporter(target))


def test_the_time_of_a_kit_has_the_starts_of_its_processes() -> None:
    assert kit_seconds(12, 0.02) == pytest.approx(1.2 * 12 * 0.02 + 1)
    assert kit_seconds(30, 0.4) == pytest.approx(1.2 * 30 * 0.4 + 3 * 5)


def test_what_cannot_be_a_kit_or_a_table_is_said(tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=r"runtime 'analytic'; a kit measures with ONNX Runtime"):
        make_kit(space, tmp_path / "kit", profile="mcu")
    with pytest.raises(FileNotFoundError, match="neither a kit nor a CSV file at"):
        import_table(tmp_path / "none", tmp_path / "table.parquet")


def test_an_imported_table_is_fitted_and_its_device_measures_nothing_more(tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity",))
    profile = load_profile("mcu")
    board = open_target(profile)  # its latencies are computed, so the test takes no time
    plan = MeasurePlan(fit_networks=6, check_networks=4)
    table = measure_on(board, profile, space, tmp_path / "t.parquet", plan=plan, precision="int8").table
    measured = fit_table(table, SlotSums(space), 0.95)
    assert measured.check.networks == 4
    assert measured.check.mape < 0.01
    target = ImportedTarget(load_profile("cpu-ort"), table)
    assert target.facts.machine == board.facts.machine
    assert not target.facts.reachable
    with pytest.raises(ValueError, match="cannot be reached from here, so no network can be measured"):
        target.measure([tmp_path / "x.onnx"], budget_s=0.1)
