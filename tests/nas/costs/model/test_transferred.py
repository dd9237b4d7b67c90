"""A device from ten measurements: its table predicts networks that were never measured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from nas.costs.layers.probes import network_probes, sample_networks
from nas.costs.model.fit import MeasurePlan, fit_table, measure_space
from nas.costs.model.latency import measured_networks
from nas.costs.model.transferred import Transferred, transferred_table
from nas.costs.table.build import build_table
from nas.costs.table.table import LatencyTable, merge_tables
from results.timing import Timing
from tests.nas.costs.synthetic import header, layers, space, timing

PLAN = MeasurePlan(fit_networks=12, check_networks=4)


class Tasteful:
    """A device on which parameters and calls of layers have prices of its own."""

    def __init__(self, call_ms: float, param_ms: float, whole_ms: float) -> None:
        self.call_ms, self.param_ms, self.whole_ms = call_ms, param_ms, whole_ms

    def of(self, module: nn.Module) -> float:
        leaves = [part for part in module.modules() if not list(part.children())]
        params = sum(parameter.numel() for parameter in module.parameters())
        return self.whole_ms + self.call_ms * len(leaves) + self.param_ms * params

    def export(self, module: nn.Module, _shape: tuple[int, ...], path: Path) -> None:
        path.write_text(str(self.of(module)))

    def measure(self, files: Sequence[Path], *, budget_s: float) -> list[Timing]:  # noqa: ARG002 - the protocol's
        return [timing(float(file.read_text())) for file in files]


def whole_table(device: Tasteful, name: str, folder: Path) -> LatencyTable:
    here, sums = space(), layers()
    named = replace(header(here), profile=name)
    found = measure_space(
        here,
        sums,
        sums.probes,
        named,
        PLAN,
        export=device.export,
        measure=device.measure,
        path=folder / f"{name}.parquet",
    )
    return found.table


def few_networks(device: Tasteful, n: int, twice: int, folder: Path) -> LatencyTable:
    here = space()
    rows = sample_networks(here, n, np.random.default_rng(5))
    probes = [*network_probes(here, rows), *network_probes(here, rows[n - twice :], occasion=1)]
    return build_table(
        probes,
        replace(header(here), profile="new"),
        export=device.export,
        measure=device.measure,
        path=folder / f"few-{n}-{twice}.parquet",
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[LatencyTable]:
    folder = tmp_path_factory.mktemp("known")
    devices = {"calls": Tasteful(0.01, 1e-7, 0.01), "sums": Tasteful(0.001, 1e-5, 0.005)}
    return [whole_table(device, name, folder) for name, device in devices.items()]


def transferred(known: list[LatencyTable], few: LatencyTable) -> Transferred:
    return transferred_table(space(), layers(), known, few)


def test_ten_measurements_predict_the_others(known: list[LatencyTable], tmp_path: Path) -> None:
    new, here = Tasteful(0.02, 4e-6, 0.03), space()
    found = transferred(known, few_networks(new, 10, 3, tmp_path))
    rows = here.sample(40, np.random.default_rng(9))
    truth = np.array([new.of(here.build(here.to_arch(row))) for row in rows])
    predicted, upper = found.measured.model.predict(rows)
    off = np.abs(predicted / truth - 1)
    assert off.mean() < 0.05
    assert np.mean(truth <= upper * 1.01) > 0.85
    assert np.corrcoef(predicted, truth)[0, 1] > 0.99
    alone = min(
        np.abs(truth / truth.mean() - one / one.mean()).mean() for one in known_latencies(known, rows)
    )
    assert off.mean() < alone, "better than the shape of any known device"
    assert found.measured.check.networks == 3
    assert len(found.left_out) == 7
    lines = found.measured.table.lines
    assert set(lines[lines.kind == "layer"].reason) == {"predicted from calls and sums"}
    assert (lines[(lines.kind == "network") & (lines.repeats > 0)].reason == "").sum() == 13


def test_a_measurement_takes_the_place_of_a_prediction(known: list[LatencyTable], tmp_path: Path) -> None:
    found = transferred(known, few_networks(Tasteful(0.02, 4e-6, 0.03), 10, 3, tmp_path)).measured.table
    predicted = found.lines[found.lines.reason.str.startswith("predicted")]
    assert set(predicted.kind) == {"layer", "chain", "network"}
    assert (predicted.repeats == 0).all()
    once = predicted.groupby("kind").head(1)
    wide = {"low_ms": once.median_ms * 0.99, "high_ms": once.median_ms * 1.01, "repeats": 5, "reason": ""}
    merged = merge_tables([found, LatencyTable(header=found.header, lines=once.assign(**wide))]).lines
    assert (merged.repeats == 5).sum() == len(once) == 3


def known_latencies(known: list[LatencyTable], rows: np.ndarray) -> list[np.ndarray]:
    return [fit_table(table, layers(), 0.95).model.latency_ms(rows) for table in known]


def test_what_a_known_device_cannot_run_stays_out(known: list[LatencyTable], tmp_path: Path) -> None:
    here, sums = space(), layers()
    rows, _ = measured_networks(known[0])
    uses = np.array([sums.sum(rows, one) > 0 for one in np.eye(len(sums.keys))])
    rare = sums.keys[int(np.argmin(np.where(uses.any(axis=1), uses.sum(axis=1), len(rows))))]
    lines = known[0].lines.copy()
    broken = (lines.key == rare) | lines.key.str.endswith(f" x {rare}")
    lines.loc[broken, ["status", "reason"]] = ["unsupported", "no such operator"]
    lines.loc[broken, ["median_ms", "low_ms", "high_ms"]] = np.nan
    lines.loc[(lines.kind == "layer") & ~broken, "reason"] = "predicted"
    without = LatencyTable(header=known[0].header, lines=lines)
    found = transferred([without, known[1]], few_networks(Tasteful(0.02, 4e-6, 0.03), 14, 4, tmp_path))
    table = found.measured.table.of("layer")
    assert list(table[table.status != "measured"].index) == [rare]
    assert table.reason[rare] == "no such operator"
    some = here.sample(200, np.random.default_rng(9))
    using = sums.sum(some, np.array([float(key == rare) for key in sums.keys])) > 0
    assert using.any()
    np.testing.assert_array_equal(np.isinf(found.measured.model.latency_ms(some)), using)


def test_too_few_networks_and_other_spaces_are_refused(known: list[LatencyTable], tmp_path: Path) -> None:
    device = Tasteful(0.02, 4e-6, 0.03)
    with pytest.raises(ValueError, match="4 were measured once on the new one and 3 twice; it takes 5"):
        transferred(known, few_networks(device, 7, 3, tmp_path))
    with pytest.raises(ValueError, match="10 were measured once on the new one and 0 twice"):
        transferred(known, few_networks(device, 10, 0, tmp_path))
    few = few_networks(device, 10, 3, tmp_path)
    other = LatencyTable(header=replace(few.header, space="other", space_fingerprint="x"), lines=few.lines)
    with pytest.raises(ValueError, match="of new on none is of space 'other'"):
        transferred(known, other)
    with pytest.raises(ValueError, match="at least one known device"):
        transferred([], few)
