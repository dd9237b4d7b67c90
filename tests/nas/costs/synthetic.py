"""A device made of arithmetic: layers and networks have latencies known in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.probes import LayerChain
from nas.costs.layers.sums import SlotSums
from nas.costs.table.table import TableHeader
from results.timing import Timing
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset

CALL_MS, SLOPE = 0.005, 0.8


@cache
def space() -> SearchSpace:
    return preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity", "pooling", "depthwise"))


@cache
def analytic() -> AnalyticCosts:
    """Counted once for all tests."""
    return AnalyticCosts(space())


def layers() -> SlotSums:
    """The layers of ``space()``."""
    return SlotSums(space())


def header(of: SearchSpace) -> TableHeader:
    return TableHeader(
        profile="synthetic",
        runtime="arithmetic",
        runtime_version="1",
        threads=1,
        batch=1,
        precision="fp32",
        machine="none",
        space=of.name,
        space_fingerprint=of.fingerprint,
        date="2026-01-01T00:00:00+00:00",
    )


def timing(median_ms: float, *, spread: float = 0.01) -> Timing:
    """A latency known to a share of it."""
    low_ms, high_ms = (1 - spread) * median_ms, (1 + spread) * median_ms
    return Timing(median_ms=median_ms, low_ms=low_ms, high_ms=high_ms, repeats=9)


@dataclass
class Device:
    """A layer alone takes CALL_MS plus its parameters' time; a network pays the call once, and SLOPE."""

    noise: float = 0.0
    dies_after: int = 10**9
    measured: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def export(self, module: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
        params = sum(parameter.numel() for parameter in module.parameters())
        whole = isinstance(module, nn.Sequential) and hasattr(module, "head")
        parts = len(module) if whole or isinstance(module, LayerChain) else 1
        path.write_text(f"{params} {np.prod(input_shape)} {parts} {int(whole)}")

    def measure(self, files: Sequence[Path], *, budget_s: float) -> list[Timing]:  # noqa: ARG002 - the protocol's
        self.measured += len(files)
        if self.measured > self.dies_after:
            raise OSError("device gone")
        return [self._one(file) for file in files]

    def _one(self, file: Path) -> Timing:
        params, _elements, parts, whole = (int(part) for part in file.read_text().split())
        work = 1e-5 * params + 0.01 * parts
        true = CALL_MS + SLOPE * work if whole else CALL_MS + work
        noisy = true * float(np.exp(self.noise * self.rng.normal()))
        return timing(noisy)
