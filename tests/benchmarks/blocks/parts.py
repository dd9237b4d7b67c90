"""The networks of the benchmark: one backbone, one part of the table in every block, any width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import search_spaces.spaces.presets  # noqa: F401 - registers every part
from search_spaces.channel_mixers.registry import CHANNEL_MIXERS
from search_spaces.gates.registry import GATES
from search_spaces.mixers.registry import MIXERS
from search_spaces.operations.operation import Options
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer

SHAPE = (3, 32, 32)
STEP = 16  # widths are multiples of it: every part takes those
SCALES = (1.0, 2.0, 3.0)  # the three sizes: of widths 16-32-64
GRID = tuple(quarter / 4 for quarter in range(3, 25))
BASE = "depthwise"  # mixer beside which channel mixers and gates stand; its middle size is the budget
MIXER, CHANNEL_MIXER, GATE = "token mixer", "channel mixer", "gate"
KNOWN = (
    *("depthwise", "identity", "pooling", "shift", "attention", "sepconv", "large_kernel", "inception_dw"),
    *("window", "linear_attention", "grouped_conv", "pooled_attention"),
)
"""Mixers that are measured first: the best known ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """A row of the table.

    Attributes:
        kind: ``token mixer``, ``channel mixer`` or ``gate``.
        name: name in its registry.
    """

    kind: str
    name: str

    def space(self, scale: float) -> SearchSpace:
        """Three stages of one block; the part's own choices are left open, the network is the smallest.

        Args:
            scale: widths over 16-32-64.
        """
        options: Options = {"conv_mlp": {"gate": (self.name,), "kernel": (3,)}} if self.kind == GATE else {}
        second = {CHANNEL_MIXER: self.name, GATE: "conv_mlp"}.get(self.kind, "mlp")
        stages = [
            Stage(
                widths=(width,),
                depths=(1,),
                mixers=(self.name if self.kind == MIXER else BASE,),
                channel_mixers=(second,),
                ratios=(2,),
                options=options,
            )
            for width in widths(scale)
        ]
        return metaformer("part", stages, classes=10, input_shape=SHAPE)


def parts() -> list[Part]:
    """Every part there is, the best known first."""
    mixers = sorted(MIXERS, key=lambda name: KNOWN.index(name) if name in KNOWN else len(KNOWN))
    return [
        *(Part(MIXER, name) for name in mixers[: len(KNOWN)]),
        *(Part(CHANNEL_MIXER, name) for name in CHANNEL_MIXERS),
        *(Part(GATE, name) for name in GATES),
        *(Part(MIXER, name) for name in mixers[len(KNOWN) :]),
    ]


def widths(scale: float) -> tuple[int, ...]:
    """Channels of the three stages."""
    return tuple(max(STEP, STEP * math.floor(scale * base / STEP + 0.5)) for base in (16, 32, 64))


def candidate(measured: Mapping[float, float], budget_ms: float) -> float:
    """The scale of the grid whose latency should come nearest to the budget.

    By straight lines between what was measured, and beyond its ends: logarithms of latencies over those of
    the channels of all stages, which are multiples and grow unevenly.

    Args:
        measured: latency in ms by scale, of two scales or more.
        budget_ms: latency wanted.
    """
    points = sorted((_size(scale), math.log(ms)) for scale, ms in measured.items())
    pairs = list(pairwise(points))

    def log_ms(scale: float) -> float:
        x = _size(scale)
        (x0, y0), (x1, y1) = next((pair for pair in pairs if x <= pair[1][0]), pairs[-1])
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    return min(GRID, key=lambda scale: abs(log_ms(scale) - math.log(budget_ms)))


def _size(scale: float) -> float:
    return math.log(sum(widths(scale)))


def nearest(measured: Mapping[float, float], budget_ms: float) -> float:
    """The measured scale whose latency is nearest to the budget, by ratio."""
    return min(measured, key=lambda scale: abs(math.log(measured[scale] / budget_ms)))
