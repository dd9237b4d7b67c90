"""What a compressed model has to be, and which of its files is the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from results.records import CompressedModel

_MB = 1_000_000
_NOISE = 0.02  # of a latency


class UnreachableError(ValueError):
    """No file meets the goal; the message says which comes nearest.

    Attributes:
        record: files that were made all the same; None where nothing was trained.
    """

    record: CompressedModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted of the file; several limits hold together.

    Attributes:
        latency_ms: Latency limit of one call on the profile's device, in ms.
        speedup: Latency limit as a ratio: the latency of the model as it is over that of the file.
        size_mb: Size limit of the file, in MB (1,000,000 bytes).
        accuracy_drop: Accuracy that may be lost on validation data, in points (of a hundred).

    Raises:
        ValueError: nothing is wanted, two latency limits, or a number that makes no sense.
    """

    latency_ms: float | None = None
    speedup: float | None = None
    size_mb: float | None = None
    accuracy_drop: float | None = None

    def __post_init__(self) -> None:
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        if not given:
            raise ValueError(
                "say what the file has to be: latency_ms, speedup, size_mb or accuracy_drop, such as "
                "--speedup 2"
            )
        for name, value in given.items():
            least = 1.0 if name == "speedup" else 0.0
            above = value > least or (value == least and name == "accuracy_drop")
            if not (above and math.isfinite(value)):
                raise ValueError(
                    f"{name} has to be {'at least' if name == 'accuracy_drop' else 'more than'} "
                    f"{least:g}, got {value:g}"
                )
        if self.latency_ms is not None and self.speedup is not None:
            raise ValueError("latency_ms and speedup both limit the latency; give one of them")

    @property
    def by_size(self) -> bool:
        """Whether the size of the file is limited and its latency is not."""
        return self.size_mb is not None and self.latency_ms is None and self.speedup is None

    @property
    def words(self) -> str:
        """The goal in a few words."""
        told = {
            "latency_ms": "at most {:g} ms a call",
            "speedup": "{:g} times as fast",
            "size_mb": "at most {:g} MB",
            "accuracy_drop": "at most {:g} points of accuracy lost",
        }
        found = [
            text.format(value) for name, text in told.items() if (value := getattr(self, name)) is not None
        ]
        return " and ".join(found)

    def limits(self, original: Figures) -> GoalLimits:
        """The goal as limits on a file, beside the model as it is."""
        latency_ms = self.latency_ms if self.speedup is None else original.latency_ms / self.speedup
        drop = self.accuracy_drop
        return GoalLimits(
            latency_ms=latency_ms,
            size_bytes=None if self.size_mb is None else math.floor(self.size_mb * _MB),
            accuracy=None if drop is None else original.accuracy - drop / 100,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of a file.

    Attributes:
        latency_ms: median latency of a call.
        size_bytes: size.
        accuracy: accuracy on validation data, in [0, 1].
    """

    latency_ms: float
    size_bytes: int
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalLimits:
    """Limits on a file; None where there is none.

    Attributes:
        latency_ms: most of a call's latency.
        size_bytes: most of its size.
        accuracy: least accuracy on validation data.
    """

    latency_ms: float | None
    size_bytes: int | None
    accuracy: float | None

    def safe(self) -> GoalLimits:
        """The same with a latency limit that another measurement of the same file will not break."""
        return self if self.latency_ms is None else replace(self, latency_ms=self.latency_ms * (1 - _NOISE))

    def excess(self, file: Figures) -> float:
        """How far a file is beyond the limits, as a sum of shares; 0 where it meets them all."""
        over = 0.0
        if self.latency_ms is not None:
            over += max(0.0, file.latency_ms / self.latency_ms - 1)
        if self.size_bytes is not None:
            over += max(0.0, file.size_bytes / max(self.size_bytes, 1) - 1)
        if self.accuracy is not None and file.accuracy < self.accuracy - 1e-9:
            over += max(self.accuracy - file.accuracy, 1e-9)
        return over

    def missed(self, file: Figures) -> tuple[str, ...]:
        """The limits that a file misses, in words."""
        found = []
        if self.latency_ms is not None and file.latency_ms > self.latency_ms:
            found.append(f"it takes {file.latency_ms:.4g} ms a call, over {self.latency_ms:.4g} ms")
        if self.size_bytes is not None and file.size_bytes > self.size_bytes:
            found.append(f"its {file.size_bytes:,} bytes are over {self.size_bytes:,}")
        if self.accuracy is not None and file.accuracy < self.accuracy - 1e-9:
            found.append(f"its accuracy of {file.accuracy:.2%} is under {self.accuracy:.2%}")
        return tuple(found)

    def answer(self, files: Mapping[str, Figures]) -> str:
        """Name of the file that is handed over first.

        Of those within the limits the most accurate, or where only the accuracy is limited the fastest; where
        there is none, the one that is least beyond.
        """
        least = min(self.excess(one) for one in files.values())
        within = {name: one for name, one in files.items() if self.excess(one) <= least}
        accuracy_alone = self.latency_ms is None and self.size_bytes is None
        if least == 0 and accuracy_alone:
            return min(within, key=lambda name: (within[name].latency_ms, -within[name].accuracy))
        return min(within, key=lambda name: (-within[name].accuracy, within[name].latency_ms))
