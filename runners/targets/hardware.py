"""What a hardware profile holds: what is common to all runtimes, and one runtime with its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from results.names import unknown

PRECISIONS = ("fp32", "bf16", "fp16", "int8")

Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """What the device can hold; None where it sets no limit."""

    latency_ms: Positive | None = None
    energy_mj: Positive | None = None
    params: Positive | None = None
    peak_memory_bytes: Positive | None = None
    size_bytes: Positive | None = None

    def most_ms(self, watts: float | None) -> float:
        """The most that a call may take, in ms: energy is power times time, so a limit on it is one on both.

        Args:
            watts: power that the device draws; None where nobody knows.

        Raises:
            ValueError: energy is limited, and nobody knows the power.
        """
        latency_ms = self.latency_ms or math.inf
        if self.energy_mj is None:
            return latency_ms
        if watts is None:
            raise ValueError(
                f"limits.energy_mj = {self.energy_mj:g} in the profile, and nobody knows what the device "
                "draws: "
                "give the profile its watts. Where networks share weights, this machine's own counters would "
                "do (RAPL, /sys/class/powercap), but there are none that may be read here, or it is another "
                "machine that is measured"
            )
        return min(latency_ms, self.energy_mj / watts)


class Runtime(BaseModel):
    """A runtime by name; its own settings stand beside ``kind``.

    Attributes:
        kind: name in ``RUNTIMES``.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    @property
    def settings(self) -> dict[str, Any]:
        """The runtime's own settings by name."""
        return dict(self.model_extra or {})


class HardwareProfile(_Part):
    """A runtime on a device under a name.

    Attributes:
        name: stands in tables and reports.
        summary: one line for people.
        runtime: name of a runtime, or a table of its ``kind`` and its settings.
        threads: threads of the runtime; 0 takes all cores.
        batch: images at once.
        input_shape: the only input (C, H, W) it takes; empty where it takes any.
        precisions: number formats it can run, of ``PRECISIONS``; tables are measured in the first.
        limits: what it can hold.
        unsupported_mixers: names of mixers, blocks and other parts that leave the space on this device.
        unsupported_operators: types of operators it cannot run; a layer that has one is unsupported.
        watts: power it draws while it runs; with it tables get an energy column.
        parts: Python files (seen from the profile's folder) or modules that register a runtime.
    """

    name: Annotated[str, Field(min_length=1)]
    summary: str = ""
    runtime: Runtime
    threads: Annotated[int, Field(ge=0)] = 1
    batch: Annotated[int, Field(ge=1)] = 1
    input_shape: tuple[int, ...] = ()
    precisions: Annotated[tuple[str, ...], Field(min_length=1)] = ("fp32",)
    limits: Limits = Limits()
    unsupported_mixers: tuple[str, ...] = ()
    unsupported_operators: tuple[str, ...] = ()
    watts: Positive | None = None
    parts: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _named_by_a_string(cls, values: Any) -> Any:
        """A string stands for a runtime without settings."""
        if isinstance(values, dict) and isinstance(values.get("runtime"), str):
            return {**values, "runtime": {"kind": values["runtime"]}}
        return values

    @field_validator("precisions")
    @classmethod
    def _known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if value not in PRECISIONS:
                raise ValueError(unknown("precision", value, PRECISIONS))
        return values


def only_in(profile: HardwareProfile, precisions: Sequence[str]) -> None:
    """Refuses a profile that wants a number format that its runtime does not give.

    Raises:
        ValueError: it does.
    """
    for precision in profile.precisions:
        if precision not in precisions:
            raise ValueError(
                f"profile {profile.name!r} has precision {precision!r}, but runtime "
                f"{profile.runtime.kind!r} runs {' and '.join(precisions)}"
            )
