"""Whether a step is kept, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.candidate import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One proposal as measured beside what it would replace.

    Attributes:
        before: latency of the file that is there.
        after: latency of the proposed file, measured interleaved with it.
        accuracy_before: of the file that is there, in [0, 1].
        accuracy_after: of the proposed file, in [0, 1].
    """

    before: Timing
    after: Timing
    accuracy_before: float
    accuracy_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Kept or undone, and the reason."""

    kept: bool
    reason: str


def is_faster(before: Timing, after: Timing, noise: float) -> bool:
    """Whether the intervals do not overlap and the gain is above that share of the latency."""
    return after.high_ms < before.low_ms and after.median_ms < before.median_ms * (1 - noise)


def judge_speed(trial: Trial, *, best_accuracy: float, tolerance: float, noise: float) -> Verdict:
    """A step for speed: kept if faster beyond the noise and at most ``tolerance`` below the best accuracy."""
    before, after = trial.before, trial.after
    ratio = before.median_ms / after.median_ms
    times = f"{before.median_ms:.3f} to {after.median_ms:.3f} ms"
    accuracies = f"{trial.accuracy_before:.2%} to {trial.accuracy_after:.2%}"
    loss = best_accuracy - trial.accuracy_after
    limit = f"{100 * loss:.2f} points below the best, {100 * tolerance:.2f} are allowed"
    if not is_faster(before, after, noise):
        kind = "slower" if after.low_ms > before.high_ms else "no faster beyond the noise"
        return Verdict(
            kept=False,
            reason=f"{kind}: {before.median_ms:.3f} ms [{before.low_ms:.3f}, {before.high_ms:.3f}] before, "
            f"{after.median_ms:.3f} ms [{after.low_ms:.3f}, {after.high_ms:.3f}] after",
        )
    if loss > tolerance + 1e-9:
        return Verdict(
            kept=False,
            reason=f"{ratio:.2f} times as fast ({times}), but accuracy goes from {accuracies}: {limit}",
        )
    return Verdict(
        kept=True, reason=f"{ratio:.2f} times as fast ({times}) and accurate enough ({accuracies})"
    )


def judge_accuracy(trial: Trial) -> Verdict:
    """A step for accuracy: kept if there is more of it."""
    accuracies = f"{trial.accuracy_before:.2%} to {trial.accuracy_after:.2%}"
    if trial.accuracy_after > trial.accuracy_before:
        return Verdict(kept=True, reason=f"more accurate: {accuracies}")
    return Verdict(kept=False, reason=f"no more accurate: {accuracies}")


def choose(trials: Sequence[Trial], verdicts: Sequence[Verdict], *, for_speed: bool) -> int | None:
    """Index of the proposal to report, and to keep where its verdict says so.

    Of those that may be kept the fastest, and of those that cannot be told from it the most accurate; for a
    step for accuracy the most accurate. None where there is no proposal.
    """
    if not trials:
        return None
    allowed = [index for index, verdict in enumerate(verdicts) if verdict.kept] or list(range(len(trials)))
    if for_speed:
        fastest = min(allowed, key=lambda index: trials[index].after.median_ms)
        reach = trials[fastest].after.high_ms
        allowed = [index for index in allowed if trials[index].after.low_ms <= reach]
    return max(allowed, key=lambda index: trials[index].accuracy_after)
