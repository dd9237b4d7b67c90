"""Methods of distillation, a file for each kind; importing this package makes them known by name."""

from __future__ import annotations

from nas.distillation.methods.features import AttentionMaps, Features, Progressive, Relational
from nas.distillation.methods.outputs import KD, Dist
from nas.distillation.methods.scale import Scale

__all__ = ["KD", "AttentionMaps", "Dist", "Features", "Progressive", "Relational", "Scale"]
