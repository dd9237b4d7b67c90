"""A device that cannot be reached from here: all that is known of it is an imported table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from torch import nn

from nas.costs.layers.probes import rows_of
from nas.costs.layers.sums import LayerSums
from nas.costs.model.fit import Profiled, fit_and_check
from nas.costs.table.table import LatencyTable
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity


class DeviceElsewhere:
    """Stands for the device of an imported table; it measures nothing.

    Args:
        profile: the run's.
        table: what was measured there.
    """

    def __init__(self, profile: HardwareProfile, table: LatencyTable) -> None:
        self.profile, self._table = profile, table

    def identity(self) -> Identity:
        """As the table's header says."""
        header = self._table.header
        return Identity(
            runtime=header.runtime,
            runtime_version=header.runtime_version,
            threads=header.threads,
            machine=header.machine,
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """Refuses, as there is nothing to export for."""
        del module, input_shape, precision
        self._refuse()

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> NoReturn:
        """Refuses.

        Raises:
            ValueError: always; the message says what can be done.
        """
        del models, budget_s, precision
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError(
            f"the table of this run was measured on {self._table.header.machine}, which cannot be reached "
            "from here, so no network can be measured on it again. The trials with their predicted latencies "
            'are in search/*.jsonl; a profile with backend = "remote" does a run whole'
        )


def fit_imported(layers: LayerSums, table: LatencyTable, confidence: float) -> Profiled:
    """The predictions of a table as it is: nothing is measured; networks that it has twice are the check.

    Raises:
        ValueError: it lacks layers or networks of the space.
    """
    networks, again = table.of("network"), table.of("network", 1)
    fitting = networks[~networks.index.isin(again.index) & (networks.status == "measured")]
    if len(fitting) < 5 or not len(again):
        raise ValueError(
            f"the table of profile {table.header.profile!r} holds {len(fitting)} whole networks measured "
            f"once and {len(again)} measured twice; it takes 5 to fit and 1 to check: let the kit's "
            "measure.py come to its end"
        )
    return fit_and_check(table, layers, rows_of(list(fitting.index)), confidence)
