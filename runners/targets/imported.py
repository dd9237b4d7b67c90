"""A device that cannot be reached from here: all that is known of it is an imported table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray
from torch import nn

from compress.target import Facts
from nas.costs.table.table import LatencyTable
from runners.targets.hardware import HardwareProfile


class ImportedTarget:
    """The device of an imported table; it only tells what it is.

    Args:
        profile: the run's.
        table: what was measured there.
    """

    def __init__(self, profile: HardwareProfile, table: LatencyTable) -> None:
        header = table.header
        self.facts = Facts(
            profile=profile.name,
            runtime=header.runtime,
            runtime_version=header.runtime_version,
            threads=header.threads,
            batch=header.batch,
            machine=header.machine,
            format="onnx",  # what kits carry
            precisions=(header.precision,),
            local=False,
            reachable=False,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> NoReturn:
        """Refuses, as all that follows: see ``measure``."""
        del network, input_shape, path, precision
        self._refuse()

    def run(self, file: Path, images: NDArray[Any]) -> NoReturn:
        """Refuses."""
        del file, images
        self._refuse()

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> NoReturn:
        """Refuses.

        Raises:
            ValueError: always; the message says what can be done.
        """
        del files, budget_s, half_width
        self._refuse()

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> NoReturn:
        """Refuses."""
        del file, images
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError(
            f"the table of this run was measured on {self.facts.machine}, which cannot be reached "
            "from here, so no network can be measured on it again. The trials with their predicted latencies "
            'are in search/*.jsonl; a profile with the runtime "remote" does a run whole'
        )
