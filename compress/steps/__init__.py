"""Compression steps, one a file; importing this package makes them known by name."""

from __future__ import annotations

from compress.onnx.static import OPERATORS
from compress.steps.cluster import Cluster
from compress.steps.depth import Shorten
from compress.steps.exchange import Exchange
from compress.steps.finetune import Finetune
from compress.steps.low_rank import LowRank
from compress.steps.merge import Merge
from compress.steps.mixed_precision import MixedPrecision
from compress.steps.prune import Prune
from compress.steps.quantize import Quantize
from compress.steps.quantize_aware import QuantizeAware
from compress.steps.registry import STEPS
from compress.steps.retrain import Retrain
from compress.steps.store import Store

__all__ = [
    "OPERATORS",
    "STEPS",
    "Cluster",
    "Exchange",
    "Finetune",
    "LowRank",
    "Merge",
    "MixedPrecision",
    "Prune",
    "Quantize",
    "QuantizeAware",
    "Retrain",
    "Shorten",
    "Store",
]
