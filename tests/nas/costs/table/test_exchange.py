"""CSV and plausibility: units survive, and a table in seconds or of another machine is caught."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.costs.layers.probes import layer_probes
from nas.costs.table.build import build_table
from nas.costs.table.exchange import export_csv, import_csv
from nas.costs.table.plausibility import check_plausible, remeasure, why_stale
from nas.costs.table.table import LatencyTable
from results.timing import Timing
from tests.nas.costs.synthetic import Device, analytic, header, space


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    here, device = space(), Device()
    return build_table(
        layer_probes(here),
        header(here),
        export=device.export,
        measure=device.measure,
        path=tmp_path_factory.mktemp("table") / "table.parquet",
    )


def test_csv_holds_all_that_the_table_holds(table: LatencyTable, tmp_path: Path) -> None:
    failed = table.lines.assign(status="failed", reason="no, really: # broken", median_ms=float("nan"))
    rows = pd.concat([table.lines.iloc[1:], failed.iloc[:1]], ignore_index=True)
    written = LatencyTable(header=table.header, lines=rows)
    export_csv(written, tmp_path / "table.csv")
    read = import_csv(tmp_path / "table.csv")
    assert read.header == written.header
    assert read.lines.key.tolist() == written.lines.key.tolist()
    np.testing.assert_allclose(read.lines.median_ms, written.lines.median_ms)


def test_csv_without_units_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table.lines.to_csv(path, index=False)
    with pytest.raises(ValueError, match="no header, so its units"):
        import_csv(path)
    export_csv(table, path)
    path.write_text("".join(line for line in path.open() if "unit" not in line))
    with pytest.raises(ValueError, match="missing: unit"):
        import_csv(path)
    export_csv(table, path)
    path.write_text(path.read_text().replace('unit: "ms"', 'unit: "s"'))
    with pytest.raises(ValueError, match="is in 's'; tables are in ms"):
        import_csv(path)


@pytest.mark.parametrize(
    ("factor", "message"), [(1e-3, "look like seconds"), (1e3, None), (1.0, None), (1e6, "microseconds")]
)
def test_a_swap_of_units_is_caught(table: LatencyTable, factor: float, message: str | None) -> None:
    counts = analytic()
    # Real layers of this space take some 2 to 30 microseconds on a desktop CPU.
    times = {name: table.lines[name] * 0.2 * factor for name in ("median_ms", "low_ms", "high_ms")}
    swapped = LatencyTable(header=table.header, lines=table.lines.assign(**times))
    arguments = (swapped, counts.layer_keys, counts.per_layer("macs"))
    if message is None:
        check_plausible(*arguments)
    else:
        with pytest.raises(ValueError, match=message):
            check_plausible(*arguments)


def test_a_changed_machine_is_named_and_a_sample_says_whether_the_table_holds(table: LatencyTable) -> None:
    now = replace(table.header, runtime_version="2", date="2027-01-01")
    assert why_stale(table, now) == ["runtime_version '2' against '1'"]
    here, same = space(), Device()
    probes = layer_probes(here)
    assert remeasure(table, probes, export=same.export, measure=same.measure, seed=0).holds

    class Slower(Device):
        def _one(self, file: Path) -> Timing:
            reading = super()._one(file)
            return replace(reading, median_ms=1.2 * reading.median_ms)

    slower = Slower()
    drift = remeasure(table, probes, export=slower.export, measure=slower.measure, seed=0)
    assert not drift.holds
    assert drift.ratio == pytest.approx(1.2, rel=1e-6)
    assert "measure the table again" in drift.summary()
