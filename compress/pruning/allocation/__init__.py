"""How much each group of channels loses; importing this package makes the ways known by name."""

from __future__ import annotations

from compress.pruning.allocation.allocating import ALLOCATIONS, Allocating, AllocationSpec, allocator
from compress.pruning.allocation.by_score import together, uniform
from compress.pruning.allocation.equal_slope import equal_slope
from compress.pruning.allocation.measured import measured
from compress.pruning.allocation.precrop import precrop
from compress.pruning.allocation.zeroth_order import zeroth_order

__all__ = [
    "ALLOCATIONS",
    "Allocating",
    "AllocationSpec",
    "allocator",
    "equal_slope",
    "measured",
    "precrop",
    "together",
    "uniform",
    "zeroth_order",
]
