"""Devices as Ray resources: a node started with a resource named as the profile measures for it.

``ray start --resources '{"cpu-ort": 1}'`` offers a node's device. Each unit of the resource measures one
thing at a time, so a node with one device gets one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nas.costs.build import Measure, Reading
from runners.devices.device import Identity, open_device
from runners.devices.profile import HardwareProfile
from runners.devices.stopwatch import Timing


def ray_measurers(profile: HardwareProfile) -> list[Measure]:
    """One measurer for each unit of the profile's resource that the cluster has.

    Raises:
        ValueError: no node has the resource; the message says how to start one.
    """
    import ray

    units = int(ray.cluster_resources().get(profile.name, 0))
    if not units:
        raise ValueError(
            f"no Ray node offers the resource {profile.name!r}; start one on the device with: "
            f"ray start --address=HEAD:6379 --resources '{{\"{profile.name}\": 1}}'"
        )
    return [_measurer(profile) for _ in range(units)]


def ray_identity(profile: HardwareProfile) -> Identity:
    """What figures of the node that measures hold for, as it says itself."""
    import ray

    return Identity(**ray.get(_task(profile, _identity).remote(profile.model_dump())))


def _measurer(profile: HardwareProfile) -> Measure:
    def measure(models: Sequence[bytes], *, budget_s: float) -> Sequence[Reading]:
        import ray

        try:
            return [
                Timing(**entry)
                for entry in ray.get(
                    _task(profile, _measure).remote(profile.model_dump(), list(models), budget_s)
                )
            ]
        except ray.exceptions.RayError as error:
            raise OSError(
                f"the Ray node that measures for profile {profile.name!r} went away "
                f"({type(error).__name__}); what was measured is kept, run the same command again"
            ) from error

    return measure


def _task(profile: HardwareProfile, function: Any) -> Any:
    import ray

    return ray.remote(num_cpus=0, max_retries=0, resources={profile.name: 1})(function)


def _measure(profile: dict[str, Any], models: list[bytes], budget_s: float) -> list[dict[str, Any]]:
    device = open_device(HardwareProfile.model_validate(profile))
    return [asdict(timing) for timing in device.measure(models, budget_s=budget_s)]


def _identity(profile: dict[str, Any]) -> dict[str, Any]:
    return asdict(open_device(HardwareProfile.model_validate(profile)).identity())
