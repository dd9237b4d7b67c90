"""Predictions on a device in closed form: within a percent without noise, honest with it, else infinite."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

from nas.costs.layers.probes import layer_probes
from nas.costs.model.check import check_latency
from nas.costs.model.conformal import lower_ratio, upper_ratio
from nas.costs.model.fit import Measured, MeasurePlan, measure_space
from nas.costs.model.latency import fit_latency, lone_latencies, measured_networks
from nas.costs.table.build import build_table
from nas.costs.table.table import COLUMNS, LatencyTable
from results.records import LatencyCheck
from tests.nas.costs.synthetic import Device, header, space
from tests.nas.costs.synthetic import layers as slot_layers


def measured_space(tmp_path: Path, device: Device, plan: MeasurePlan) -> Measured:
    here = space()
    return measure_space(
        here,
        slot_layers(),
        layer_probes(here),
        header(here),
        plan,
        export=device.export,
        measure=device.measure,
        path=tmp_path / "table.parquet",
    )


def test_a_device_that_adds_up_is_predicted_to_within_a_percent(tmp_path: Path) -> None:
    result = measured_space(tmp_path, Device(), MeasurePlan(fit_networks=20, check_networks=40))
    assert result.check.networks == 40
    assert result.check.mape < 0.01  # the ridge pulls a little towards the plain sum
    assert result.check.spearman > 0.999
    assert result.check.noise_floor == 0


class Refusing(Device):
    """A device whose exporter raises something that is no sentence."""

    def __init__(self, what: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.what = what

    def export(self, module: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
        if self.what(module):
            raise KeyError("no such operator")
        super().export(module, input_shape, path)


def test_a_layer_whose_export_raises_anything_costs_its_line(tmp_path: Path) -> None:
    plan = MeasurePlan(fit_networks=8, check_networks=4)
    device = Refusing(lambda module: any(type(part).__name__ == "Pooling" for part in module.modules()))
    table = measured_space(tmp_path, device, plan).table
    refused = table.of("layer")
    refused = refused[refused.status != "measured"]
    assert len(refused)
    assert all(key.startswith("pooling(") for key in refused.index)
    assert set(refused.reason) == {"KeyError: 'no such operator'"}


def test_where_no_network_runs_the_cause_is_told(tmp_path: Path) -> None:
    plan = MeasurePlan(fit_networks=8, check_networks=4)
    words = r"holds 0 whole networks.*lines were not measured, most often for this: KeyError: 'no such op"
    with pytest.raises(ValueError, match=words):
        measured_space(tmp_path, Refusing(lambda module: hasattr(module, "head")), plan)


def test_layers_after_a_kind_are_those_behind_it_at_its_shape() -> None:
    here, layers = space(), slot_layers()
    rows = here.sample(40, np.random.default_rng(0))
    each = np.random.default_rng(1).random(len(layers.keys))
    cost = dict(zip(layers.keys, each, strict=True))
    expected = []
    for row in rows:
        total, after = 0.0, False
        for layer in here.lower(here.to_arch(row)):
            after &= layer.input_shape == layer.output_shape
            total += cost[layer.key] * after
            after |= layer.kind == "pooling"
        expected.append(total)
    np.testing.assert_allclose(layers.sum_after(rows, each, "pooling"), expected)
    assert layers.lasting_kinds == ("depthwise", "mlp", "pooling")


def test_a_kind_that_slows_what_comes_after_it_is_found() -> None:
    """Networks in which every layer behind a pooling takes longer; noise of 1 % on top."""
    here, layers = space(), slot_layers()
    rng = np.random.default_rng(0)
    rows = here.sample(230, rng)
    lone = 0.01 + 1e-7 * layers.weight_bytes
    slower = np.array([0.006 * (kind != "pooling") for kind in layers.kinds])
    truth = layers.sum(rows, lone) + layers.sum_after(rows, slower, "pooling")
    measured = truth * np.exp(0.01 * rng.normal(size=len(rows)))
    entries = [
        dict(zip(COLUMNS, ("layer", key, "1", 0, ms, ms, ms, 9, "measured", ""), strict=True))
        for key, ms in zip(layers.keys, lone, strict=True)
    ]
    table = LatencyTable(header=header(here), lines=pd.DataFrame(entries))
    model = fit_latency(layers, table, rows[:30], measured[:30])
    assert model.correction.after == "pooling"
    assert np.mean(np.abs(model.latency_ms(rows[30:]) / truth[30:] - 1)) < 0.012


def test_intervals_cover_what_they_say(tmp_path: Path) -> None:
    """Over many draws of who fits and who is predicted; one draw of 30 networks says little of its own."""
    plan = MeasurePlan(fit_networks=30, check_networks=150)
    result = measured_space(tmp_path, Device(noise=0.03), plan)
    assert result.check.noise_floor == pytest.approx(0.03 * 2 / np.sqrt(np.pi), rel=0.25)
    assert result.check.mape < 0.05
    rows, measured = measured_networks(result.table)
    checks = []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(len(rows))
        fit, more, unseen = order[:30], order[30:60], order[60:]
        model = fit_latency(slot_layers(), result.table, rows[fit], measured[fit])
        model = model.calibrated(rows[more], measured[more])
        checks.append(check_latency(model, rows[unseen], measured[unseen]))
    assert 0.9 <= np.mean([check.coverage for check in checks]) <= 0.99
    assert 0.9 <= np.mean([check.upper_coverage for check in checks]) <= 0.99


def test_upper_bounds_lie_above_and_grow_with_confidence(tmp_path: Path) -> None:
    result = measured_space(tmp_path, Device(noise=0.02), MeasurePlan(fit_networks=20, check_networks=20))
    rows = space().sample(50, np.random.default_rng(3))
    latency, upper = result.model.predict(rows)
    _, looser = replace(result.model, confidence=0.8).predict(rows)
    _, surer = replace(result.model, confidence=0.99).predict(rows)
    assert (upper > latency).all()
    assert (upper > looser).all()
    assert (surer >= upper).all()


def test_a_layer_the_device_cannot_run_makes_its_archs_infeasible(tmp_path: Path) -> None:
    here = space()
    device = Device()
    result = measured_space(tmp_path, device, MeasurePlan(fit_networks=20, check_networks=20))
    lone = result.model.layer_ms.copy()
    lone[3] = np.inf
    model = replace(result.model, layer_ms=lone)
    rows = here.sample(200, np.random.default_rng(0))
    uses = (here.layer_ids(rows) == 3).any(axis=1)
    np.testing.assert_array_equal(np.isinf(model.latency_ms(rows)), uses)
    assert np.isinf(model.predict(rows)[1][uses]).all()


def test_a_space_that_mostly_cannot_run_is_profiled_on_what_can(tmp_path: Path) -> None:
    class NoPooling(Device):
        def export(self, module: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
            if any(isinstance(part, nn.AvgPool2d) for part in module.modules()):
                raise ValueError("uses AveragePool, which the profile cannot run")
            super().export(module, input_shape, path)

    result = measured_space(tmp_path, NoPooling(), MeasurePlan(fit_networks=20, check_networks=20))
    assert result.check.networks == 20
    kinds = np.array(slot_layers().kinds)
    np.testing.assert_array_equal(np.isinf(result.model.layer_ms), kinds == "pooling")
    reasons = result.table.of("layer").reason
    assert "AveragePool" in reasons[[key for key in reasons.index if key.startswith("pooling")]].iloc[0]


def test_a_missing_layer_is_an_error_that_says_how_to_measure_it(tmp_path: Path) -> None:
    table = measured_space(tmp_path, Device(), MeasurePlan(fit_networks=5, check_networks=3)).table
    lacking = LatencyTable(header=table.header, lines=table.lines.iloc[1:].reset_index(drop=True))
    with pytest.raises(ValueError, match="lacks 1 of .* run quarry measure"):
        lone_latencies(slot_layers(), lacking)


def test_a_million_archs_are_costed_in_about_a_second(tmp_path: Path) -> None:
    import time

    model = measured_space(tmp_path, Device(), MeasurePlan(fit_networks=10, check_networks=5)).model
    rows = space().sample(100_000, np.random.default_rng(0))
    model.predict(rows[:10])
    start = time.process_time()
    model.predict(rows)
    assert time.process_time() - start < 0.4  # a tenth of the million, at four times the promise


def test_a_killed_build_resumes_where_it_was(tmp_path: Path) -> None:
    here, path = space(), tmp_path / "table.parquet"
    dying, fresh = Device(dies_after=30), Device()
    arguments = (layer_probes(here), header(here))
    with pytest.raises(OSError, match="device gone"):
        build_table(*arguments, export=dying.export, measure=dying.measure, path=path)
    assert not path.exists()
    build_table(*arguments, export=fresh.export, measure=fresh.measure, path=path)
    whole = Device()
    other = tmp_path / "other.parquet"
    build_table(*arguments, export=whole.export, measure=whole.measure, path=other)
    assert fresh.measured < whole.measured
    idle = Device()
    table = build_table(*arguments, export=idle.export, measure=idle.measure, path=path)
    assert idle.measured == 0
    assert len(table.lines) == len(layer_probes(here))


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    here, path, device = space(), tmp_path / "table.parquet", Device()
    build_table(layer_probes(here)[:3], header(here), export=device.export, measure=device.measure, path=path)
    with pytest.raises(ValueError, match="threads 4 against 1"):
        build_table(
            layer_probes(here),
            replace(header(here), threads=4),
            export=device.export,
            measure=device.measure,
            path=path,
        )


def test_a_disturbed_group_is_measured_again(tmp_path: Path) -> None:
    here = space()

    class Disturbed(Device):
        calls = 0

        def measure(self, files, *, budget_s):  # type: ignore[no-untyped-def]
            self.calls += 1
            readings = super().measure(files, budget_s=budget_s)
            if self.calls != 2:
                return readings
            return [replace(r, median_ms=2 * r.median_ms, high_ms=3 * r.high_ms) for r in readings]

    device, quiet = Disturbed(), Device()
    arguments = (layer_probes(here), header(here))
    disturbed = build_table(
        *arguments, export=device.export, measure=device.measure, path=tmp_path / "a.parquet"
    )
    steady = build_table(*arguments, export=quiet.export, measure=quiet.measure, path=tmp_path / "b.parquet")
    left, right = disturbed.of("layer").median_ms.sort_index(), steady.of("layer").median_ms.sort_index()
    np.testing.assert_allclose(left, right)


def test_a_check_comes_back_from_its_json(tmp_path: Path) -> None:
    check = measured_space(tmp_path, Device(noise=0.01), MeasurePlan(fit_networks=6, check_networks=5)).check
    assert LatencyCheck.from_json(check.to_json()) == check
    assert "unseen networks" in check.summary()
    with pytest.raises(ValueError, match="LatencyCheck lacks networks"):
        LatencyCheck.from_json({"mape": 0.1})


def test_conformal_bounds_hold_at_their_level() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        ratios = np.exp(0.05 * rng.standard_t(4, size=60))
        hits.append(ratios[-1] <= upper_ratio(ratios[:-1], 0.9))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.05)
    assert lower_ratio([0.9, 1.0, 1.1], 0.9) < 0.9
    with pytest.raises(ValueError, match="at least 3"):
        upper_ratio([1.0], 0.9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        upper_ratio([1.0] * 5, 95)
