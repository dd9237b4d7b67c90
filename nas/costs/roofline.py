"""Latency without a table: a roofline over a few constants of the machine, which are measured.

"Roofline: An Insightful Visual Performance Model" (Williams et al., CACM 2009): a layer takes as long as
its arithmetic at full speed or its memory traffic at full bandwidth, whichever is longer. We add what
starting a layer costs, which rules small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from nas.costs.counts.analytic import AnalyticCosts, count
from nas.costs.layers.sums import Floats
from nas.costs.table.build import Export, Measure
from search_spaces.space import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConstants:
    """What a roofline needs to know of a machine.

    Attributes:
        macs_per_s: multiply-accumulates a second at full speed.
        bytes_per_s: memory traffic a second.
        layer_overhead_ms: what starting a layer costs.
        watts: drawn while running; None where nobody knows.
    """

    macs_per_s: float
    bytes_per_s: float
    layer_overhead_ms: float
    watts: float | None = None

    def __post_init__(self) -> None:
        if self.macs_per_s <= 0 or self.bytes_per_s <= 0 or self.layer_overhead_ms < 0:
            raise ValueError(f"machine constants must be positive, got {self}")


class _Scale(nn.Module):
    """One read and one write of every element, and next to no arithmetic."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.5


def measure_constants(
    *, export: Export, measure: Measure, watts: float | None = None, seconds: float = 3.0
) -> MachineConstants:
    """Measures a machine's constants with three models: much arithmetic, much memory, neither.

    Raises:
        ValueError: one of them does not run on the device.
    """
    dense, dense_shape = nn.Conv2d(256, 256, 3, padding=1), (256, 28, 28)
    wide_shape, small_shape = (64, 256, 256), (8, 4, 4)
    models = [
        export(dense, dense_shape),
        export(_Scale(), wide_shape),
        export(_Scale(), small_shape),
    ]
    readings = measure(models, budget_s=seconds)
    for reading in readings:
        if reading.status != "measured":
            raise ValueError(f"the machine's constants cannot be measured: {reading.reason}")
    arithmetic_ms, memory_ms, overhead_ms = (reading.median_ms for reading in readings)
    return MachineConstants(
        macs_per_s=count(dense, dense_shape).macs / (arithmetic_ms / 1e3),
        bytes_per_s=2 * 4 * float(np.prod(wide_shape)) / (memory_ms / 1e3),
        layer_overhead_ms=overhead_ms,
        watts=watts,
    )


class RooflineCosts:
    """Analytic latency and energy of a space's archs.

    Args:
        analytic: counts of the space.
        machine: constants of the device.
        bytes_per_value: 4 for fp32, 1 for int8.
    """

    def __init__(
        self, analytic: AnalyticCosts, machine: MachineConstants, *, bytes_per_value: int = 4
    ) -> None:
        self._analytic, self._machine = analytic, machine
        self._scale = bytes_per_value / 4

    def per_layer_ms(self) -> Floats:
        """Of each of the space's layers, (n layers,)."""
        macs = self._analytic.per_layer("macs")
        traffic = self._analytic.per_layer("traffic_bytes") * self._scale
        machine = self._machine
        seconds = np.maximum(macs / machine.macs_per_s, traffic / machine.bytes_per_s)
        return np.asarray(1e3 * seconds + machine.layer_overhead_ms)

    def latency_ms(self, rows: Rows) -> Floats:
        """Of each arch, (n,)."""
        return self._analytic.space.sum_over_layers(rows, self.per_layer_ms())

    def energy_mj(self, rows: Rows) -> Floats:
        """Millijoules of each arch, (n,).

        Raises:
            ValueError: nobody knows the machine's power.
        """
        if self._machine.watts is None:
            raise ValueError("energy needs machine.watts in the hardware profile")
        return self.latency_ms(rows) * self._machine.watts
