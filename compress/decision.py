"""Whether a step is kept, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A candidate as measured beside what it would replace.

    Attributes:
        before: Latency of the file that is there.
        after: Latency of the candidate's file, measured in turns with it.
        accuracy_before: Accuracy of the file that is there, in [0, 1].
        accuracy_after: Accuracy of the candidate's file, in [0, 1].
        size_before: Size of the file that is there, in bytes.
        size_after: Size of the candidate's file, in bytes.
    """

    before: Timing
    after: Timing
    accuracy_before: float
    accuracy_after: float
    size_before: int
    size_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Kept or undone, and the reason."""

    kept: bool
    reason: str


def is_faster(before: Timing, after: Timing, noise: float) -> bool:
    """Whether the intervals do not overlap and the gain is above that share of the latency."""
    return after.high_ms < before.low_ms and after.median_ms < before.median_ms * (1 - noise)


def decide_by_speed(
    comparison: Comparison, *, best_accuracy: float, tolerance: float, noise: float, certain: bool = True
) -> Decision:
    """A step for speed: kept if faster beyond the noise and at most ``tolerance`` below the best accuracy.

    Where it need not be ``certain`` that it is faster, the medians decide.
    """
    before, after = comparison.before, comparison.after
    ratio = before.median_ms / after.median_ms
    times = f"{before.median_ms:.3f} to {after.median_ms:.3f} ms"
    accuracies = _accuracies(comparison)
    if not (is_faster(before, after, noise) if certain else after.median_ms < before.median_ms):
        kind = "slower" if after.low_ms > before.high_ms else "no faster beyond the noise"
        return Decision(
            kept=False,
            reason=f"{kind}: {before.median_ms:.3f} ms [{before.low_ms:.3f}, {before.high_ms:.3f}] before, "
            f"{after.median_ms:.3f} ms [{after.low_ms:.3f}, {after.high_ms:.3f}] after",
        )
    if lost := _lost(comparison, best_accuracy, tolerance):
        return Decision(kept=False, reason=f"{ratio:.2f} times as fast ({times}), but {lost}")
    return Decision(
        kept=True, reason=f"{ratio:.2f} times as fast ({times}) and accurate enough ({accuracies})"
    )


def decide_by_size(comparison: Comparison, *, best_accuracy: float, tolerance: float) -> Decision:
    """A step for speed where the size of the file is what counts: kept if smaller and accurate enough."""
    before, after = comparison.size_before, comparison.size_after
    sizes = f"{before:,} to {after:,} bytes"
    if after >= before:
        return Decision(kept=False, reason=f"no smaller: {sizes}")
    if lost := _lost(comparison, best_accuracy, tolerance):
        return Decision(kept=False, reason=f"smaller ({sizes}), but {lost}")
    return Decision(kept=True, reason=f"smaller ({sizes}) and accurate enough ({_accuracies(comparison)})")


def _lost(comparison: Comparison, best_accuracy: float, tolerance: float) -> str:
    """Too much accuracy lost, in words; nothing where it is not."""
    loss = best_accuracy - comparison.accuracy_after
    if loss <= tolerance + 1e-9:
        return ""
    return (
        f"accuracy goes from {_accuracies(comparison)}: {100 * loss:.2f} points below the best, "
        f"{100 * tolerance:.2f} are allowed"
    )


def _accuracies(comparison: Comparison) -> str:
    return f"{comparison.accuracy_before:.2%} to {comparison.accuracy_after:.2%}"


def decide_by_accuracy(comparison: Comparison) -> Decision:
    """A step for accuracy: kept if there is more of it."""
    accuracies = _accuracies(comparison)
    if comparison.accuracy_after > comparison.accuracy_before:
        return Decision(kept=True, reason=f"more accurate: {accuracies}")
    return Decision(kept=False, reason=f"no more accurate: {accuracies}")


def choose(
    comparisons: Sequence[Comparison],
    decisions: Sequence[Decision],
    *,
    for_speed: bool,
    limit_ms: float | None = None,
    by_size: bool = False,
) -> int | None:
    """Index of the candidate to report, and to keep where its decision says so.

    For a step for accuracy the most accurate. For one for speed, of those that may be kept: the most accurate
    of those within the limit, where there is one; else the fastest, and of those that cannot be told from it
    the most accurate. Where the size counts, the smallest in place of the fastest. None where there is no
    candidate.
    """
    if not comparisons:
        return None
    allowed = [i for i, decision in enumerate(decisions) if decision.kept] or list(range(len(comparisons)))
    within = [i for i in allowed if limit_ms is not None and comparisons[i].after.high_ms <= limit_ms]
    if for_speed and within:
        allowed = within
    elif for_speed and by_size:
        smallest = min(comparisons[index].size_after for index in allowed)
        allowed = [index for index in allowed if comparisons[index].size_after == smallest]
    elif for_speed:
        fastest = min(allowed, key=lambda index: comparisons[index].after.median_ms)
        reach = comparisons[fastest].after.high_ms
        allowed = [index for index in allowed if comparisons[index].after.low_ms <= reach]
    return max(allowed, key=lambda index: comparisons[index].accuracy_after)
