"""What a card says of the limits of the device."""

from __future__ import annotations

import pytest

from nas.costs.counts.analytic import Counts
from results.timing import Timing
from runners.artifacts.card import broken_limits
from runners.targets.hardware import Limits
from runners.targets.profile import load_profile

PROFILE = load_profile("cpu-ort")
COUNTS = Counts(macs=1, params=1, peak_memory_bytes=1, traffic_bytes=1)


def broken(
    precision: str, *, watts: float | None = None, energy_mj: float | None = None, **more: object
) -> str:
    profile = PROFILE.model_copy(update={"limits": Limits(energy_mj=energy_mj), **more})
    timing = Timing(2.0, 2.0, 2.0, repeats=9)
    return ", ".join(broken_limits(profile, watts, COUNTS, timing, 1, precision))


@pytest.mark.parametrize("precision", ["fp32", "int8", "palette", "fp16", "bf16", "int4"])
def test_weights_that_are_only_stored_in_another_format_are_computed_in_one_of_the_device(
    precision: str,
) -> None:
    assert broken(precision) == ""


def test_a_format_that_the_device_does_not_run_is_named() -> None:
    assert "it runs int8 and this is palette" in broken("palette", precisions=("int8",))


def test_energy_goes_by_the_power_that_was_counted_where_the_profile_names_none() -> None:
    assert broken("fp32", watts=4.0, energy_mj=10) == ""
    assert broken("fp32", watts=6.0, energy_mj=10) == "energy_mj 12.0 over the limit of 10"
    assert "nobody knows its watts" in broken("fp32", energy_mj=10)
