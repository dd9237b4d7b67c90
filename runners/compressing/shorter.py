"""Blocks left out beside channels cut, where that leaves more of the arithmetic within a latency limit.

Where a network's layers are small, starting them is most of their time: narrower ones are hardly faster, and
fewer are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.candidate import Context
from compress.swaps.blocks import blocks_of, without_blocks
from results.records import Record

_WORTH = 2.0
"""How many times as much arithmetic has to be left: training makes up for channels better than for blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks(Record):
    """The blocks of a model that can be left out.

    Attributes:
        count: how many there are.
        latency: share of the latency that they take together, in [0, 1].
        macs: share of the multiply-accumulates, likewise.
    """

    count: int
    latency: float
    macs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shorter(Record):
    """Channels that are cut first, and how much faster fewer blocks are to be then.

    Attributes:
        share: share of the channels to keep; 1 cuts none.
        speedup: latency with all blocks over that without those that go.
    """

    share: float
    speedup: float


def blocks_in(network: nn.Module, context: Context, folder: Path) -> Blocks | None:
    """What could be left out of a network and would save, measured on a file without all of it.

    Returns:
        None where there is no such block, or leaving them all out saves nothing.

    Raises:
        ValueError: a file cannot be exported or does not run.
    """
    names = [block.name for block in blocks_of(network, context.example)]
    if not names:
        return None
    rest = without_blocks(network, names)
    files = [context.file(folder, name) for name in ("whole", "without_blocks")]
    for module, file in zip((network, rest), files, strict=True):
        context.export(module, file)
    whole, without = context.target.measure(files, budget_s=context.seconds_each * len(files))
    if not whole.status == without.status == "measured":
        raise ValueError(f"a file without blocks does not run: {without.reason or whole.reason}")
    latency = 1 - without.median_ms / whole.median_ms
    macs = 1 - context.macs(rest) / context.macs(network)
    return Blocks(count=len(names), latency=latency, macs=macs) if latency > 0 else None


def shorter(
    blocks: Blocks | None, shares: dict[float, tuple[float, int]], most_macs: int, limit_ms: float
) -> Shorter | None:
    """The share of the channels at which leaving blocks out meets a limit with most arithmetic left.

    Blocks are taken to be alike, and to take the same part of the latency at every share.

    Args:
        blocks: what can be left out of the model as it is.
        shares: latency in ms and multiply-accumulates with all blocks, by the share of the channels.
        most_macs: multiply-accumulates of the largest network within the limit that has all its blocks.
        limit_ms: latency limit.

    Returns:
        None where no share leaves more than twice ``most_macs``.
    """
    if blocks is None:
        return None
    found, best = None, most_macs * _WORTH
    for share, (latency_ms, macs) in shares.items():
        if latency_ms <= limit_ms:
            continue
        gone = math.ceil(blocks.count * (1 - limit_ms / latency_ms) / blocks.latency - 1e-9)
        left = macs * (1 - blocks.macs * gone / blocks.count)
        if gone <= blocks.count and left > best:
            found, best = Shorter(share=share, speedup=latency_ms / limit_ms), left
    return found
