"""A look ahead: how fast and how small the model gets, share by share, before anything is trained.

Latency and size of a file depend on its shapes and not on its weights, so what is cut need not be trained to
know them. It says which shares are worth a training, and that no share meets a goal.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from compress.candidate import Candidate, Context, Step
from compress.failure import reason
from compress.pruning.groups import channel_groups
from compress.steps import Cluster, Prune, Quantize
from compress.steps.registry import unmet_needs
from results.files import read_json, write_json
from results.records import LeftAlone, Record
from runners.adopting.taken_up import INSIDE
from runners.compressing.goal import GoalLimits
from runners.compressing.shorter import Blocks, Shorter, blocks_in, shorter

SHARES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)
"""Shares of the channels to keep that are looked at."""
COUNTS = (16, 8, 4, 1)
"""Channel counts are multiples of the first of these by which anything can be cut."""
_SECONDS_EACH = 0.3
_PARTS = 4  # of the way between two shares
_CALIBRATION = 8  # images; what the ranges are costs no time


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned(Record):
    """A model with some of its channels, not trained, as a file.

    Attributes:
        share: share of the channels that was kept; 1 is the model as it is.
        precision: number format of the file.
        latency_ms: median latency of a call.
        size_bytes: size of the file.
        macs: multiply-accumulates for one input.
    """

    share: float
    precision: str
    latency_ms: float
    size_bytes: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Record):
    """What the look found; compress/scan.json.

    Attributes:
        counts: number whose multiples channel counts are.
        files: what was measured, side by side.
        left: channels that cannot be cut, with reasons.
        problem: why no channels can be cut, in words; empty where they can.
        blocks: what can be left out as a whole; None where nothing can.
        between: shares between those asked for that were looked at too, for goals.
    """

    counts: int
    files: tuple[Scanned, ...]
    left: tuple[LeftAlone, ...]
    problem: str = ""
    blocks: Blocks | None = None
    between: tuple[float, ...] = ()

    @property
    def original(self) -> Scanned:
        """The model as it is."""
        return self.files[0]

    def shares(self, limits: GoalLimits) -> list[float]:
        """The largest share of each precision that is within the limits on latency and size, descending."""
        found = []
        for precision in dict.fromkeys(one.precision for one in self.files):
            within = [one.share for one in self.files if one.precision == precision and _within(one, limits)]
            found += [max(within)] if within else []
        return sorted(set(found), reverse=True)

    def shorter(self, limits: GoalLimits) -> Shorter | None:
        """Blocks to leave out for a limit on the latency, where that beats cutting channels alone."""
        if (limit_ms := limits.safe().latency_ms) is None or limits.size_bytes is not None:
            return None
        floats = [one for one in self.files if one.precision == self.original.precision]
        within = [one.macs for one in self.files if one.latency_ms <= limit_ms]
        known = {one.share: (one.latency_ms, one.macs) for one in floats}
        return shorter(self.blocks, known, max(within, default=0), limit_ms)


def _within(file: Scanned, limits: GoalLimits) -> bool:
    fast = limits.latency_ms is None or file.latency_ms <= limits.latency_ms
    return fast and (limits.size_bytes is None or file.size_bytes <= limits.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How a model is looked at.

    Attributes:
        shares: Shares of the channels to keep, in (0, 1).
        folder: Folder of the scan's record, ``scan.json``; what is there is read, not made again.
        importance: Criterion that ranks the channels.
        say: Takes a line about what cannot be done.
    """

    shares: Sequence[float]
    folder: Path
    importance: str = "l2"
    say: Callable[[str], None] = lambda _: None

    @property
    def record(self) -> Path:
        """The scan's record."""
        return self.folder / "scan.json"


def scan(start: Candidate, context: Context, looking: Looking) -> Scan:
    """Cuts, exports and measures the model at several shares, as floats, as int8, and for size as palettes.

    Args:
        start: The model as it is.
        context: What the steps may call; nothing is trained.
        looking: Shares to look at, and where it is written down.

    Raises:
        ValueError: the model as it is does not run on the target.
    """
    if looking.record.exists():
        return Scan.from_json(read_json(looking.record))
    with _scratch(looking.folder) as scratch:
        untrained = _without_training(context)
        counts, cut, problem = _cut(start, untrained, looking.shares, COUNTS, scratch, looking.importance)
        made = [(1.0, start), *cut]
        made += _smaller(made, untrained, scratch, looking.say)
        found = Scan(
            counts=counts,
            files=tuple(_measured(made, context)),
            left=_left(start.network, context),
            problem=problem,
            blocks=_blocks(start.network, untrained, scratch / "blocks", looking.say),
        )
    write_json(looking.record, found.to_json())
    return found


def looked_closer(
    found: Scan, start: Candidate, context: Context, looking: Looking, limits: GoalLimits
) -> Scan:
    """The same with shares between the largest that meets the limits and the next that was asked for.

    An eighth of the channels can be a third of the latency. The record is brought up to date.

    Args:
        found: what is known.
        start: the model as it is.
        context: what the steps may call; nothing is trained.
        looking: shares and folder of the scan.
        limits: limits on the file.

    Raises:
        ValueError: the model as it is does not run on the target.
    """
    asked = _between(found, limits, looking.shares)
    new = sorted({share for each in asked.values() for share in each} - set(found.between))
    if found.problem or not new:
        return found
    with _scratch(looking.folder) as scratch:
        untrained = _without_training(context)
        _, cut, problem = _cut(start, untrained, new, (found.counts,), scratch, looking.importance)
        if problem:
            looking.say(f"no shares between those asked for are looked at: {problem}")
        floats = found.original.precision
        more = {share for precision, each in asked.items() if precision != floats for share in each}
        wanted = [(share, one) for share, one in cut if share in more]
        made = [(1.0, start), *cut, *_smaller(wanted, untrained, scratch, looking.say)]
        first, *lines = _measured(made, context)
    ratio = found.original.latency_ms / first.latency_ms  # as measured beside the others
    seen = [replace(one, latency_ms=one.latency_ms * ratio) for one in lines]
    found = replace(found, files=(*found.files, *seen), between=(*found.between, *new))
    write_json(looking.record, found.to_json())
    return found


def _between(found: Scan, limits: GoalLimits, shares: Sequence[float]) -> dict[str, list[float]]:
    """Shares to look at beside those asked for, by precision."""
    asked, safe = sorted({*shares, 1.0}), limits.safe()
    between = {}
    for precision in dict.fromkeys(one.precision for one in found.files):
        within = [
            one.share
            for one in found.files
            if one.precision == precision and one.share in asked and _within(one, safe)
        ]
        if within and (low := max(within)) < 1:
            high = min(share for share in asked if share > low)
            between[precision] = [round(low + (high - low) * part / _PARTS, 4) for part in range(1, _PARTS)]
    return between


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    scratch = folder / "scan.tried"
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed scan left
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _without_training(context: Context) -> Context:
    return replace(context, finetune=_untrained, calibration=context.calibration[:_CALIBRATION])


def _smaller(
    made: Sequence[tuple[float, Candidate]], context: Context, folder: Path, say: Callable[[str], None]
) -> list[tuple[float, Candidate]]:
    """Files of each share with smaller numbers; what cannot be made is told."""
    steps: dict[str, Step] = {"int8": Quantize()}
    if context.by_size:
        steps["a palette"] = Cluster(epochs=0)
    found: list[tuple[float, Candidate]] = []
    for words, step in steps.items():
        if unmet := unmet_needs(step, context.target.facts):
            say(f"{words} is left out: {unmet}")
            continue
        for share, one in made:
            try:
                place = folder / f"{share:g}"
                found += [(share, each) for each in _propose(step, one, context, place)]
            except Exception as error:  # whatever a library raises for strange graphs
                say(f"{words} of {share:.0%} of the channels is left out: {reason(error)}")
    return found


def _blocks(network: nn.Module, context: Context, folder: Path, say: Callable[[str], None]) -> Blocks | None:
    try:
        return blocks_in(network, replace(context, seconds_each=_SECONDS_EACH), folder)
    except Exception as error:  # whatever a strange network or library raises
        say(f"no blocks are left out: {reason(error)}")
        return None


def _left(network: nn.Module, context: Context) -> tuple[LeftAlone, ...]:
    try:
        _, refused = channel_groups(network, context.example)
    except ValueError as error:
        return (LeftAlone(layer="all", channels=0, reason=str(error)),)
    return tuple(
        LeftAlone(layer=one.root.removeprefix(INSIDE), channels=one.channels, reason=one.reason)
        for one in refused
    )


def _untrained(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
    del seed, epochs
    return network.eval()


def _cut(
    start: Candidate,
    context: Context,
    shares: Sequence[float],
    allowed: Sequence[int],
    folder: Path,
    importance: str,
) -> tuple[int, list[tuple[float, Candidate]], str]:
    """The first of the counts by which anything can be cut, and the files of each share, or the problem."""
    problem = ""
    for counts in allowed:
        step = Prune(keep=tuple(shares), counts=counts, importance=importance)
        try:
            found = _propose(step, start, context, folder)
        except Exception as error:  # whatever a strange network or library raises
            problem = problem or reason(error)
        else:
            named = {f"keep_{share:g}": share for share in shares}  # as the step calls its files
            return counts, [(named[one.file.stem], one) for one in found], ""
    return allowed[0], [], problem


def _propose(step: Step, start: Candidate, context: Context, folder: Path) -> list[Candidate]:
    folder.mkdir(exist_ok=True)
    return step.propose(start, context, folder)


def _measured(made: Sequence[tuple[float, Candidate]], context: Context) -> Iterable[Scanned]:
    """One line for each share and precision: where there are several files, the fastest, or the smallest."""
    timings = context.target.measure([one.file for _, one in made], budget_s=_SECONDS_EACH * len(made))
    if timings[0].status != "measured":
        raise ValueError(f"the model does not run on {context.target.facts.profile}: {timings[0].reason}")
    best: dict[tuple[float, str], Scanned] = {}
    macs: dict[float, int] = {}
    for (share, one), timing in zip(made, timings, strict=True):
        if timing.status != "measured":
            continue
        if share not in macs:
            macs[share] = context.macs(one.network)
        line = Scanned(
            share=share,
            precision=one.precision,
            latency_ms=timing.median_ms,
            size_bytes=one.file.stat().st_size,
            macs=macs[share],
        )
        other = best.get((share, one.precision))
        if other is None or _cost(line, context) < _cost(other, context):
            best[share, one.precision] = line
    return best.values()


def _cost(line: Scanned, context: Context) -> float:
    return line.size_bytes if context.by_size else line.latency_ms


def next_share(scanned: Scan, limits: GoalLimits, tried: Mapping[float, bool], most: int) -> float | None:
    """The share of the channels that is trained next; None where enough were.

    With a limit on latency or size: the largest that meets it in any number format, then that of another;
    where these are one, the next smaller, which meets it for sure; then those nearest above, which are more
    accurate. What would meet it by a hair is not taken, where something else does. With a limit on the
    accuracy alone the least that keeps it, by halving.

    Args:
        scanned: what is known without training.
        limits: limits on the file.
        tried: whether the accuracy of shares that were trained leaves room for smaller ones.
        most: how many are trained, at most.
    """
    shares = sorted({one.share for one in scanned.files if one.share < 1})
    left = [share for share in shares if share not in tried]
    if not left or len(tried) >= most:
        return None
    if limits.latency_ms is None and limits.size_bytes is None:
        low = max((share for share, kept in tried.items() if not kept), default=0.0)
        high = min((share for share, kept in tried.items() if kept), default=1.0)
        between = [share for share in left if low < share < high]
        return between[len(between) // 2] if between else None
    if not (shares_within := scanned.shares(limits.safe()) or scanned.shares(limits)):
        return None
    meeting = [share for share in shares_within if share in left]
    if meeting:
        return meeting[0]
    if not tried:
        return left[len(left) // 2]
    below, above = ([one for one in left if one < min(tried)], [one for one in left if one > max(tried)])
    if below and len(tried) == 1:
        return below[-1]
    return above[0] if above else left[-1]
