"""What networks near the limit take on the target, measured before any of them is trained.

A table of layers pays where thousands of archs are searched. Where a few dozen will be trained alone, it is
cheaper, and surer, to measure whole networks: a few over all sizes, then those that a regression of these
puts near the limit, until enough of them are known to use it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compress.target import Target
from results.files import append_line, read_lines
from results.records import Scouted
from runners.console import Console
from runners.pools.known import key_of
from runners.recipe.schema import Search
from runners.stages.drawn import Drawn, counts
from runners.stages.starters import firsts
from runners.targets.hardware import Limits
from search_spaces.space import Rows, SearchSpace

SCOUTED = "scouted.jsonl"
AT_ONCE = 16  # networks measured side by side
_ROUNDS = 12
_LEAST_ROUNDS = 2  # in each the regression knows better which of the largest still meet the limit
_HOPELESS = 3  # rounds after which a limit that nothing met will not be met
SECONDS_EACH = 0.12
_MARGIN = 0.98  # of the limit: what is measured again later varies by a percent or two
_LEAST_SHARE = 0.7  # of the limit, that a network worth training uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Scouting:
    """What is measured, and for what.

    Attributes:
        space: space of the networks.
        target: target that they are measured on.
        precisions: number formats that a network can be deployed in.
        limits: limits of the target's profile.
        networks: networks near the limit that are wanted.
        seconds: time to look for them.
        seed: seed of the draw.
        folder: folder ``measure/`` of the run.
        console: console of the run.
    """

    space: SearchSpace
    target: Target
    precisions: tuple[str, ...]
    limits: Limits
    networks: int
    seconds: float
    seed: int
    folder: Path
    console: Console


def scout_sizes(work: Scouting) -> None:
    """Measures networks from the smallest to the largest; adds to ``scouted.jsonl``.

    Raises:
        ValueError: none of them runs on the target.
    """
    found = _with_sizes(work, _drawn(work))
    if not any(one.latency_ms is not None for one in found):
        raise ValueError(f"no network of the space runs on {work.target.facts.profile}: {found[0].reason}")
    ran = [_ms(one) for one in found if one.latency_ms is not None]
    work.console.say(
        f"{len({key_of(one.arch) for one in found})} networks from the smallest to the largest measured in "
        f"{' and '.join(work.precisions)}: {min(ran):.4g} to {max(ran):.4g} ms"
    )


def scout_limit(work: Scouting, limit_ms: float) -> list[Scouted]:
    """Measures networks until enough are known that use the limit; adds to ``scouted.jsonl``.

    It goes on while a round finds a larger one of some family, since a race begins with the largest of each.
    What was measured for another limit counts too.

    Returns:
        As ``using_limit``.

    Raises:
        ValueError: no network that was measured is under the limit.
    """
    drawn = _drawn(work)
    found = _with_sizes(work, drawn)
    fresh, began = len(using_limit(found, limit_ms)) < work.networks, time.monotonic()
    leaders: list[Scouted] = []
    with work.console.progress("measuring networks near the limit") as bar:
        for turn in range(_ROUNDS):
            near = using_limit(found, limit_ms)
            bar.update(min(len(near), work.networks), work.networks)
            hopeless = not near and turn == _HOPELESS
            before, leaders = leaders, firsts(near)
            settled = not fresh or (turn >= _LEAST_ROUNDS and leaders == before)
            enough = len(near) >= work.networks and settled
            if enough or hopeless or time.monotonic() - began > work.seconds:
                break
            rows = drawn.near(found, limit_ms)
            if not len(rows):
                break
            found += measure_networks(work, rows)
    near = using_limit(found, limit_ms)
    if not near:
        fastest = min(map(_ms, found))
        raise ValueError(
            f"no network of space {work.space.name!r} is under {limit_ms:.4g} ms: of "
            f"{len({key_of(one.arch) for one in found})} that were measured the fastest takes "
            f"{fastest:.4g} ms. Raise search.latency_ms, or take a space with smaller networks"
        )
    if _ms(near[0]) >= _LEAST_SHARE * limit_ms:
        said = f"{len(near)} networks known that use {_LEAST_SHARE:.0%} or more of the limit"
    elif any(_ms(one) > limit_ms for one in found):
        said = f"no network was found that uses {_LEAST_SHARE:.0%} or more of the limit; {len(near)} use less"
    else:
        said = "all networks of the space are far under the limit; a space with larger ones could use it"
    work.console.say(f"{said} (limit: {limit_ms:.4g} ms)")
    return near


def _drawn(work: Scouting) -> Drawn:
    return Drawn(work.space, work.limits, seed=work.seed, share=(_LEAST_SHARE, _MARGIN), at_once=AT_ONCE)


def _with_sizes(work: Scouting, drawn: Drawn) -> list[Scouted]:
    """What is known of the drawn networks, with what is missing from the smallest to the largest."""
    found = [one for one in known(work) if drawn.has(one.arch)]
    there = {key_of(one.arch) for one in found}
    missing = [row for row in drawn.spread() if key_of(work.space.to_arch(row)) not in there]
    return [*found, *measure_networks(work, np.stack(missing))] if missing else found


def known(work: Scouting) -> list[Scouted]:
    """What was measured so far in all the formats of now.

    A format that no step of the recipe makes any more cannot be handed over; a network without a line in one
    of them was cut short by a kill, or measured when there were fewer.
    """
    found = [one for one in scouted(work.folder) if one.precision in work.precisions]
    formats: dict[str, set[str]] = {}
    for one in found:
        formats.setdefault(key_of(one.arch), set()).add(one.precision)
    return [one for one in found if len(formats[key_of(one.arch)]) == len(work.precisions)]


def scouted(folder: Path) -> list[Scouted]:
    """What was measured so far, by the folder ``measure/`` of the run."""
    return [Scouted.from_json(line) for line in read_lines(folder / SCOUTED)]


def scouted_limit(search: Search, device_ms: float, space: SearchSpace, found: Sequence[Scouted]) -> float:
    """The limit in ms: as given, or the largest network's measured latency over the speed-up wanted.

    Where the device itself has a tighter one (``device_ms``, infinite where it has none), that.

    Raises:
        ValueError: a speed-up over a largest network that does not run on the target.
    """
    if search.latency_ms is not None:
        return min(search.latency_ms, device_ms)
    assert search.speedup is not None  # the recipe has one of the two
    largest = space.largest()
    for one in found:
        if one.arch == largest and one.latency_ms is not None:
            return min(one.latency_ms / search.speedup, device_ms)
    raise ValueError(
        f"search.speedup = {search.speedup:g} is over the largest network, which does not run on the target: "
        "give search.latency_ms instead"
    )


def using_limit(found: Sequence[Scouted], limit_ms: float) -> list[Scouted]:
    """Networks that meet the limit with a margin and use most of it, each in its fastest format.

    Those with the most multiply-accumulates come first: within a family little else is known to say as much
    before training (docs/alone.md). Where none uses most of the limit, the whole space being faster, all
    that meet it.
    """
    met = meeting(found, limit_ms)
    near = [one for one in met if _ms(one) >= _LEAST_SHARE * limit_ms]
    return sorted(near or met, key=lambda one: -one.macs)


def meeting(found: Sequence[Scouted], limit_ms: float) -> list[Scouted]:
    """Networks that meet the limit with a margin, each in its fastest format, in the order given."""
    fastest: dict[str, Scouted] = {}
    for one in found:
        key = key_of(one.arch)
        if one.latency_ms is not None and (key not in fastest or _ms(one) < _ms(fastest[key])):
            fastest[key] = one
    return [one for one in fastest.values() if (one.high_ms or math.inf) <= _MARGIN * limit_ms]


def _ms(one: Scouted) -> float:
    return math.inf if one.latency_ms is None else one.latency_ms


def measure_networks(work: Scouting, rows: Rows) -> list[Scouted]:
    """The networks in every format, measured side by side, and written down."""
    known_counts = counts(work.space, rows)
    target, space = work.target, work.space
    wanted = [(row, precision) for row in rows for precision in work.precisions]
    reasons: dict[int, str] = {}
    with TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{place}.{target.facts.format}" for place in range(len(wanted))]
        for place, (row, precision) in enumerate(wanted):
            arch = space.to_arch(row)
            try:
                network = space.build(arch).eval()
                target.export(network, space.input_shape(arch), files[place], precision=precision)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # what one network cannot do costs that network
                reasons[place] = " ".join(f"{type(error).__name__}: {error}".split())
        there = [place for place in range(len(wanted)) if place not in reasons]
        timings = target.measure(
            [files[place] for place in there], budget_s=SECONDS_EACH * len(there), half_width=0.02
        )
    timed = dict(zip(there, timings, strict=True))
    found = []
    for place, (row, precision) in enumerate(wanted):
        timing = timed.get(place)
        ran = timing is not None and timing.status == "measured"
        found.append(
            Scouted(
                arch=space.to_arch(row),
                precision=precision,
                latency_ms=timing.median_ms if timing and ran else None,
                low_ms=timing.low_ms if timing and ran else None,
                high_ms=timing.high_ms if timing and ran else None,
                macs=int(known_counts["macs"][place // len(work.precisions)]),
                params=int(known_counts["params"][place // len(work.precisions)]),
                reason="" if ran else timing.reason if timing else reasons[place],
            )
        )
    for one in found:
        append_line(work.folder / SCOUTED, one.to_json())
    return found
