"""Networks of several number formats: conversions between them are part of what is predicted."""

# ruff: noqa: ARG002 - a device takes what a real one takes
from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.probes import LayerChain
from nas.costs.layers.sums import SlotSums
from nas.costs.model.fit import MeasurePlan, measure_space
from results.precision import int8_parts
from results.timing import Timing
from search_spaces.spaces.precisions import with_precisions
from search_spaces.spaces.presets import preset
from tests.nas.costs.synthetic import Device, header, timing

SPACE = with_precisions(
    preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("pooling", "depthwise")), "block"
)
BORDER_MS, INT8_SHARE = 0.03, 0.4


class MixedDevice(Device):
    """Int8 takes a share of the time of float, and each border between them a time of its own."""

    def export(self, module: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
        whole = hasattr(module, "head")
        parts = list(module) if whole or isinstance(module, LayerChain) else [module]
        int8 = [int8_parts(part) == ("",) for part in parts]
        work = sum(
            (1e-5 * sum(one.numel() for one in part.parameters()) + 0.01) * (INT8_SHARE if fast else 1.0)
            for part, fast in zip(parts, int8, strict=True)
        )
        ends = [False, *int8, False]
        borders = sum(a != b for a, b in itertools.pairwise(ends))
        path.write_text(str(0.005 + work + BORDER_MS * borders))

    def measure(self, files: Sequence[Path], *, budget_s: float) -> list[Timing]:
        return [timing(float(file.read_text())) for file in files]


def test_borders_between_formats_are_fitted_and_predicted(tmp_path):
    device, layers = MixedDevice(), SlotSums(SPACE)
    found = measure_space(
        SPACE,
        layers,
        layers.probes,
        header(SPACE),
        MeasurePlan(fit_networks=40, check_networks=20),
        export=device.export,
        measure=device.measure,
        path=tmp_path / "table.parquet",
    )
    rows = SPACE.sample(300, np.random.default_rng(5))
    borders = layers.borders(rows)[:, 0]
    truth = []
    for row in rows:
        device.export(SPACE.build(SPACE.to_arch(row)), (1, 8, 8), tmp_path / "one")
        truth.append(float((tmp_path / "one").read_text()))
    off = found.model.latency_ms(rows) / np.array(truth) - 1
    assert np.median(np.abs(off)) < 0.03
    few, many = borders <= np.quantile(borders, 0.2), borders >= np.quantile(borders, 0.8)
    assert abs(off[few].mean() - off[many].mean()) < 0.03, "alternating formats is not taken for cheap"


def test_int8_parts_are_a_quarter_in_bytes():
    costs = AnalyticCosts(SPACE)
    rows = SPACE.sample(20, np.random.default_rng(6))
    expected = [
        sum(
            parameter.numel() * (1 if layer.precision == "int8" else 4)
            for layer in SPACE.lower(SPACE.to_arch(row))
            for parameter in layer.build().parameters()
        )
        for row in rows
    ]
    found = costs(rows)
    np.testing.assert_array_equal(found["size_bytes"], expected)
    plain = [sum(p.numel() for p in SPACE.build(SPACE.to_arch(row)).parameters()) for row in rows]
    np.testing.assert_array_equal(found["params"], plain)
