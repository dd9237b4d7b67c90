"""Devices as Ray resources: a node started with a resource named as the profile measures for it.

``ray start --resources '{"cpu-ort": 1}'`` offers a node's device. Each unit of the resource measures one
thing at a time, so a node with one device gets one unit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from nas.costs.table.build import Measure, Reading
from runners.measuring.stopwatch import Timing
from runners.pools.ray_session import probe
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity, open_device

_LOOK_SECONDS = 5.0


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


class RayDevice:
    """A profile's device on the nodes of a cluster; what is measured is exported here.

    Args:
        profile: whose name is the resource.
        address: of the cluster.

    Raises:
        ValueError: no node offers the resource.
        ConnectionError: the cluster does not answer.
    """

    def __init__(self, profile: HardwareProfile, address: str) -> None:
        self.profile = profile
        _join(address)
        self.measurers = ray_measurers(profile)
        self._here = open_device(profile.model_copy(update={"device": "cpu"}))  # it only exports

    def identity(self) -> Identity:
        """As a node that measures says; all nodes of a resource are taken to be alike."""
        return Identity(**_answer(self.profile, _identity))

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """As the profile's backend does."""
        return self._here.export(module, input_shape, precision)

    def measure(self, models: Sequence[bytes], *, budget_s: float, precision: float = 0.01) -> list[Timing]:
        """Times models side by side on one of the nodes.

        Raises:
            OSError: it went away.
        """
        del precision  # as the node's device has it
        return [Timing(**entry) for entry in _answer(self.profile, _measure, list(models), budget_s)]


def _join(address: str) -> None:
    """Joins the cluster, unless this process is in it already."""
    import ray

    if not ray.is_initialized():
        probe(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def _measurer(profile: HardwareProfile) -> Measure:
    def measure(models: Sequence[bytes], *, budget_s: float) -> Sequence[Reading]:
        return [Timing(**entry) for entry in _answer(profile, _measure, list(models), budget_s)]

    return measure


def _answer(profile: HardwareProfile, function: Any, *arguments: Any) -> Any:
    """What a function answers on a node that has the profile's resource.

    Raises:
        OSError: no node has it any more, or the node said why not.
    """
    import ray

    where = f"the Ray node that measures for profile {profile.name!r}"
    lost = f"{where} went away; what was measured is kept, run the same command again"
    task = ray.remote(num_cpus=0, max_retries=0, resources={profile.name: 1})(function)
    pending = task.remote(profile.model_dump(), *arguments)
    try:
        # Ray would wait for ever for a resource that nobody offers any more.
        while not ray.wait([pending], timeout=_LOOK_SECONDS)[0]:
            if not ray.cluster_resources().get(profile.name):
                raise OSError(lost)
        return ray.get(pending)
    except ray.exceptions.RayTaskError as error:
        words = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
        raise OSError(f"{where} says: {words[0]}") from error
    except ray.exceptions.RayError as error:
        raise OSError(f"{lost} ({type(error).__name__})") from error


def _measure(profile: dict[str, Any], models: list[bytes], budget_s: float) -> list[dict[str, Any]]:
    device = open_device(HardwareProfile.model_validate(profile))
    return [asdict(timing) for timing in device.measure(models, budget_s=budget_s)]


def _identity(profile: dict[str, Any]) -> dict[str, Any]:
    return asdict(open_device(HardwareProfile.model_validate(profile)).identity())
