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
    """

    before: Timing
    after: Timing
    accuracy_before: float
    accuracy_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Kept or undone, and the reason."""

    kept: bool
    reason: str


def is_faster(before: Timing, after: Timing, noise: float) -> bool:
    """Whether the intervals do not overlap and the gain is above that share of the latency."""
    return after.high_ms < before.low_ms and after.median_ms < before.median_ms * (1 - noise)


def decide_by_speed(
    comparison: Comparison, *, best_accuracy: float, tolerance: float, noise: float
) -> Decision:
    """A step for speed: kept if faster beyond the noise and at most ``tolerance`` below the best accuracy."""
    before, after = comparison.before, comparison.after
    ratio = before.median_ms / after.median_ms
    times = f"{before.median_ms:.3f} to {after.median_ms:.3f} ms"
    accuracies = f"{comparison.accuracy_before:.2%} to {comparison.accuracy_after:.2%}"
    loss = best_accuracy - comparison.accuracy_after
    limit = f"{100 * loss:.2f} points below the best, {100 * tolerance:.2f} are allowed"
    if not is_faster(before, after, noise):
        kind = "slower" if after.low_ms > before.high_ms else "no faster beyond the noise"
        return Decision(
            kept=False,
            reason=f"{kind}: {before.median_ms:.3f} ms [{before.low_ms:.3f}, {before.high_ms:.3f}] before, "
            f"{after.median_ms:.3f} ms [{after.low_ms:.3f}, {after.high_ms:.3f}] after",
        )
    if loss > tolerance + 1e-9:
        return Decision(
            kept=False,
            reason=f"{ratio:.2f} times as fast ({times}), but accuracy goes from {accuracies}: {limit}",
        )
    return Decision(
        kept=True, reason=f"{ratio:.2f} times as fast ({times}) and accurate enough ({accuracies})"
    )


def decide_by_accuracy(comparison: Comparison) -> Decision:
    """A step for accuracy: kept if there is more of it."""
    accuracies = f"{comparison.accuracy_before:.2%} to {comparison.accuracy_after:.2%}"
    if comparison.accuracy_after > comparison.accuracy_before:
        return Decision(kept=True, reason=f"more accurate: {accuracies}")
    return Decision(kept=False, reason=f"no more accurate: {accuracies}")


def choose(
    comparisons: Sequence[Comparison],
    decisions: Sequence[Decision],
    *,
    for_speed: bool,
    limit_ms: float | None = None,
) -> int | None:
    """Index of the candidate to report, and to keep where its decision says so.

    For a step for accuracy the most accurate. For one for speed, of those that may be kept: the most accurate
    of those within the limit, where there is one; else the fastest, and of those that cannot be told from it
    the most accurate. None where there is no candidate.
    """
    if not comparisons:
        return None
    allowed = [i for i, decision in enumerate(decisions) if decision.kept] or list(range(len(comparisons)))
    within = [i for i in allowed if limit_ms is not None and comparisons[i].after.high_ms <= limit_ms]
    if for_speed and within:
        allowed = within
    elif for_speed:
        fastest = min(allowed, key=lambda index: comparisons[index].after.median_ms)
        reach = comparisons[fastest].after.high_ms
        allowed = [index for index in allowed if comparisons[index].after.low_ms <= reach]
    return max(allowed, key=lambda index: comparisons[index].accuracy_after)
