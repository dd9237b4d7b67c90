"""What the judged files say: a table, and whether the aims are met."""

from __future__ import annotations

import math
from collections.abc import Sequence

from results.records.given import CompressedModel
from tests.benchmarks.compression.results import GIVEN, PLAIN, QUARRY, Judged

RATIO = 0.9
"""Aim: how many times as fast over how many times fewer multiply-accumulates, of float files."""
POINTS = 1.0
"""Aim: points of test accuracy before the plain way."""


def table(lines: Sequence[Judged]) -> str:
    """A Markdown table, a row for each file."""
    rows = [
        "| network | goal | side | file | channels | MACs | accuracy | latency | times as fast | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in sorted(lines, key=lambda one: (_names(lines).index(one.network), one.factor, one.side)):
        given = _given(lines, line.network)
        cells = (
            line.network,
            "" if line.side == GIVEN else f"{line.factor:g}x",
            line.side,
            line.precision,
            f"{line.share:.0%}",
            f"{line.macs / 1e6:.1f} M",
            f"{line.test:.2%}",
            f"{line.latency_ms:.4f} ms",
            f"{given.latency_ms / line.latency_ms:.2f}" + ("" if line.within else " (missed)"),
            "" if line.side == GIVEN else f"{line.cpu_s:.0f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def differences(lines: Sequence[Judged]) -> list[str]:
    """A sentence for each goal that both sides answered: Quarry's test accuracy less the plain way's."""
    told = []
    for name in _names(lines):
        for factor in sorted({one.factor for one in lines if one.network == name and one.side != GIVEN}):
            found = {one.side: one for one in lines if (one.network, one.factor) == (name, factor)}
            if QUARRY not in found or PLAIN not in found:
                continue
            ours, plain = found[QUARRY], found[PLAIN]
            points = 100 * (ours.test - plain.test)
            deviation = 100 * math.sqrt(sum(one.test * (1 - one.test) for one in (ours, plain)) / 10_000)
            told.append(
                f"{name}, {factor:g} times: {points:+.2f} points (standard error {deviation:.2f}), at "
                f"{ours.latency_ms / plain.latency_ms:.2f} of the plain way's latency"
                f"{'' if ours.within else '; Quarry missed the goal'}"
                f"{'' if plain.within else '; the plain way missed the goal'}"
            )
    return told


def over_macs(name: str, record: CompressedModel) -> list[str]:
    """A sentence for each float file that Quarry cut: its speed-up over its reduction of arithmetic."""
    first, told = record.original, []
    for one in record.files:
        if one.share < 1 and one.precision == first.precision:
            faster, fewer = first.latency_ms / one.latency_ms, first.macs / one.macs
            told.append(
                f"{name}, {one.share:.4g} of the channels in {one.precision}: {faster:.2f} times as fast "
                f"with {fewer:.2f} times fewer multiply-accumulates, a ratio of {faster / fewer:.2f}"
            )
    return told


def slower(lines: Sequence[Judged]) -> list[str]:
    """Files that are slower than what they came from."""
    return [
        f"{one.network}, {one.side}, {one.factor:g} times is slower than the network as it is"
        for one in lines
        if one.latency_ms > _given(lines, one.network).latency_ms
    ]


def _names(lines: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(one.network for one in lines))


def _given(lines: Sequence[Judged], name: str) -> Judged:
    return next(one for one in lines if (one.network, one.side) == (name, GIVEN))
