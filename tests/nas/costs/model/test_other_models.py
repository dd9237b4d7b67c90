"""Staircase, transfer to a new device, and the layers of a user's own model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from compress.pruning.staircase import find_steps, measure_staircase
from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.probes import copies_of, layer_probes, network_probes, rows_of, sample_networks
from nas.costs.layers.sums import SlotSums
from nas.costs.layers.traced import TracedSums
from nas.costs.model.correction import Correction
from nas.costs.model.fit import MeasurePlan, measure_space
from nas.costs.model.latency import LatencyModel, fit_latency, layer_latencies, lone_latencies
from nas.costs.model.transfer import transfer
from nas.costs.table.build import build_table
from results.timing import Timing
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from tests.nas.costs.synthetic import CALL_MS, Device, header, space, timing
from tests.nas.costs.synthetic import layers as slot_layers


def test_steps_are_the_last_counts_of_their_stairs() -> None:
    channels = [8, 16, 24, 32, 40, 48, 56, 64]
    latency = [1.0, 1.0, 1.5, 1.5, 2.1, 2.0, 2.5, 2.5]
    assert find_steps(channels, latency, tolerance=0.02) == (16, 32, 48, 64)
    with pytest.raises(ValueError, match="ascending"):
        find_steps([2, 1], [1.0, 1.0], tolerance=0.0)


def test_a_planted_staircase_is_measured_and_its_multiple_found() -> None:
    def measure(files: Sequence[Path], *, budget_s: float) -> list[Timing]:
        return [timing(float(-(-int(file.read_text()) // 16))) for file in files]

    found = measure_staircase(
        lambda count: nn.Conv2d(4, count, 1),
        lambda _count: (4, 8, 8),
        range(4, 65, 4),
        export=lambda module, _shape, path: path.write_text(str(module.out_channels)),
        measure=measure,
    )
    assert found.steps == (16, 32, 48, 64)
    assert found.multiple == 16


def _device_model(rng: np.random.Generator, layers: SlotSums) -> LatencyModel:
    """A device with taste: it likes some kinds of layers better than others."""
    taste = {kind: float(np.exp(0.7 * rng.normal())) for kind in sorted(set(layers.kinds))}
    lone = np.array(
        [taste[kind] * (0.01 + 1e-7 * b) for kind, b in zip(layers.kinds, layers.weight_bytes, strict=True)]
    )
    plain = Correction(
        slope=1.0,
        offset_ms=0.01,
        per_layer=(0.0,) * len(lone),
        per_kind_ms=(0.0,) * len(taste),
        per_byte_ms=(0.0,) * len(taste),
        after="",
        per_later_ms=0.0,
        per_later_byte_ms=0.0,
        ms_per_spilled_byte=0.0,
        cache_bytes=float("inf"),
    )
    return LatencyModel(layers=layers, layer_ms=lone, correction=plain, ratios=(0.98, 1.0, 1.02))


def test_ten_measurements_place_a_new_device_among_known_ones() -> None:
    here = space()
    layers = slot_layers()
    rng = np.random.default_rng(2)
    *known, new = (_device_model(rng, layers) for _ in range(7))
    few, many = here.sample(10, rng), here.sample(200, rng)
    truth = new.latency_ms(many)
    fitted = transfer(known, few, new.latency_ms(few) * np.exp(0.01 * rng.normal(size=10)))
    predicted, upper = fitted.predict(many)
    assert stats.spearmanr(predicted, truth)[0] > 0.97
    assert np.mean(np.abs(predicted / truth - 1) < 0.1) > 0.8
    assert np.mean(truth <= upper) > 0.85
    with pytest.raises(ValueError, match="at least one known device"):
        transfer([], few, truth[:10])
    with pytest.raises(ValueError, match="at least 5 networks"):
        transfer(known, few[:4], truth[:4])


def _own_model(arch: Mapping[str, Any]) -> nn.Module:
    width, kernel = int(arch["width"]), int(arch["kernel"])
    blocks = [nn.Conv2d(width, width, kernel, padding=kernel // 2) for _ in range(int(arch["depth"]))]
    return nn.Sequential(nn.Conv2d(3, width, 1), *blocks, nn.Flatten(), nn.Linear(width * 64, 10))


def _own_space() -> SearchSpace:
    choices = [Choice("width", (4, 8)), Choice("depth", (1, 2, 3)), Choice("kernel", (1, 3))]
    return SearchSpace("own", choices, build=_own_model, input_shape=(3, 8, 8))


def test_a_users_model_gets_its_layers_by_tracing(tmp_path: Path) -> None:
    own, device = _own_space(), Device()
    rows = own.enumerate()
    traced = TracedSums(own, rows)
    assert len(traced.keys) == 2 + 4 + 2 + 2  # stems, blocks, flattens, heads
    params = AnalyticCosts(own).params(rows)
    np.testing.assert_allclose(traced.sum(rows, traced.weight_bytes), 4 * params)
    result = measure_space(
        own,
        traced,
        traced.probes,
        header(own),
        MeasurePlan(fit_networks=8, check_networks=4),
        export=device.export,
        measure=device.measure,
        path=tmp_path / "own.parquet",
    )
    assert np.isfinite(result.model.latency_ms(rows)).all()
    assert result.check.networks == 4


def test_an_arch_with_a_layer_never_seen_says_so() -> None:
    own = _own_space()
    traced = TracedSums(own, own.enumerate()[:1])
    with pytest.raises(ValueError, match="has never been seen; measure the space again"):
        traced.sum(own.enumerate(), np.ones(len(traced.keys)))


def test_the_ends_of_the_space_are_always_measured() -> None:
    here = space()
    rows = sample_networks(here, 12, np.random.default_rng(0))
    assert here.to_arch(rows[0]) == here.smallest()
    assert here.to_arch(rows[1]) == here.largest()
    assert len(np.unique(rows, axis=0)) == 12
    np.testing.assert_array_equal(rows_of([probe.key for probe in network_probes(here, rows)]), rows)


def test_layers_are_measured_alone_and_those_that_can_in_a_chain() -> None:
    here = space()
    probes = layer_probes(here)
    assert [probe.key for probe in probes if probe.kind == "layer"] == [layer.key for layer in here.layers]
    rows = {copies_of(probe.key)[0]: probe for probe in probes if probe.kind == "chain"}
    assert set(rows) == {layer.key for layer in here.layers if layer.input_shape == layer.output_shape}
    for key, probe in list(rows.items())[:3]:
        row, (_, copies) = probe.make(), copies_of(probe.key)
        assert len(list(row)) == copies == 8
        image = torch.zeros(1, *probe.input_shape)
        assert row.eval()(image).shape == image.shape, key


def test_what_a_layer_takes_is_a_copys_share_of_a_chain(tmp_path: Path) -> None:
    here, layers = space(), slot_layers()
    device = Device()
    table = build_table(
        layer_probes(here),
        header(here),
        export=device.export,
        measure=device.measure,
        path=tmp_path / "table.parquet",
    )
    lone, inside = lone_latencies(layers, table), layer_latencies(layers, table)
    in_a_chain = np.array([layer.input_shape == layer.output_shape for layer in here.layers])
    assert 0 < in_a_chain.sum() < len(in_a_chain)
    np.testing.assert_allclose(
        inside, lone - CALL_MS * 7 / 8
    )  # the others' price is taken off those that cannot


def test_a_fit_needs_networks() -> None:
    here = space()
    layers = slot_layers()
    model = _device_model(np.random.default_rng(0), layers)
    rows = here.sample(3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 5 measured networks"):
        _fit(layers, model, rows)


def _fit(layers: SlotSums, model: LatencyModel, rows: Any) -> LatencyModel:
    import pandas as pd

    from nas.costs.table.table import COLUMNS, LatencyTable

    entries = [
        dict(zip(COLUMNS, ("layer", key, "1", 0, ms, ms, ms, 9, "measured", ""), strict=True))
        for key, ms in zip(layers.keys, model.layer_ms, strict=True)
    ]
    table = LatencyTable(header=header(space()), lines=pd.DataFrame(entries))
    np.testing.assert_allclose(lone_latencies(layers, table), model.layer_ms)
    return fit_latency(layers, table, rows, model.latency_ms(rows))
