"""The records of measuring: the target the figures hold for, and the check of the latency model."""

from __future__ import annotations

from dataclasses import dataclass, field

from results.records.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord(Record):
    """The target that a run is made for: its runtime, its machine, and what it can hold.

    Attributes:
        profile: name of the hardware profile.
        summary: description of the profile in a line.
        runtime: library that runs the files.
        runtime_version: version of that library.
        threads: threads it uses.
        machine: processor, cores, architecture, system; or the constants of a computed target.
        precision: number format that layers and networks are timed in, the first of the forms.
        forms: number formats that networks may be handed over in, each measured; empty in records of before.
        limits: most that the profile allows, by cost: ``size_bytes``, ``peak_memory_bytes``, ``params``.
        left_out: mixers of the space that the profile cannot run.
        cannot_run: reason for each kind of layer that did not run.
        watts: power the machine draws; None where nobody knows.
        computed: whether latencies are computed from constants and nothing is measured.
    """

    profile: str
    summary: str
    runtime: str
    runtime_version: str
    threads: int
    machine: str
    precision: str
    forms: tuple[str, ...] = ()
    limits: dict[str, float]
    left_out: tuple[str, ...] = ()
    cannot_run: dict[str, str] = field(default_factory=dict)
    watts: float | None = None
    computed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCheck(Record):
    """Predicted against measured latency of whole networks that took no part in the fit.

    Shares and errors are fractions. None stands for what so few networks cannot tell.

    Attributes:
        networks: number of networks checked.
        mape: mean of |predicted / measured - 1|.
        within_5_percent: share of networks with an error of at most 5 %.
        within_10_percent: share of networks with an error of at most 10 %.
        spearman: rank correlation of predictions and measurements.
        coverage: share of networks whose measured latency lies in the two-sided interval.
        upper_coverage: share of networks whose measured latency lies under the one-sided upper bound.
        confidence: confidence for which interval and bound were made.
        noise_floor: mean of |second / first - 1| of the networks measured twice.
        ceiling_within_5_percent: share within 5 % that a perfect predictor would reach at this noise.
        predicted_ms: predicted latency of each network.
        low_ms: lower end of each network's prediction interval.
        high_ms: upper end of each network's prediction interval.
        measured_ms: measured latency of each network.
        again_ms: latency of each network measured a second time; empty where none was.
    """

    networks: int
    mape: float
    within_5_percent: float
    within_10_percent: float
    spearman: float | None
    coverage: float
    upper_coverage: float
    confidence: float
    noise_floor: float | None
    ceiling_within_5_percent: float | None
    predicted_ms: tuple[float, ...]
    low_ms: tuple[float, ...]
    high_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]
    again_ms: tuple[float, ...]

    def summary(self) -> str:
        """The figures in one sentence."""
        rank = "" if self.spearman is None else f", rank correlation {self.spearman:.4f}"
        noise = "" if self.noise_floor is None else f"; the machine repeats itself to {self.noise_floor:.1%}"
        return (
            f"{self.networks} unseen networks: {self.mape:.1%} off on average, {self.within_5_percent:.0%} "
            f"within 5 %, {self.within_10_percent:.0%} within 10 %{rank}; "
            f"{self.coverage:.0%} inside the {self.confidence:.0%} interval{noise}"
        )
