"""Devices as Ray resources: a node started with a resource named as the profile measures for it.

``ray start --resources '{"cpu-ort": 1}'`` offers a node's device. Each unit of the resource measures one
thing at a time, so a node with one device gets one unit.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from compress.target import Facts, OperatorTime, Target
from results.timing import Timing
from runners.pools.ray_session import reach
from runners.targets.hardware import HardwareProfile, Runtime
from runners.targets.target import open_target

_LOOK_SECONDS = 5.0


class RayTarget:
    """A profile's device on the nodes of a cluster; what is measured is exported here.

    Args:
        profile: whose name is the resource.
        address: address of the cluster.

    Raises:
        ValueError: no node offers the resource.
        ConnectionError: the cluster does not answer.
    """

    def __init__(self, profile: HardwareProfile, address: str) -> None:
        self._profile = profile
        _join(address)
        self._devices = _units(profile)
        # Here it only exports, for which a processor will do.
        settings = {name: value for name, value in profile.runtime.settings.items() if name != "device"}
        runtime = Runtime(kind=profile.runtime.kind, **settings)
        self._here = open_target(profile.model_copy(update={"runtime": runtime}))

    @cached_property
    def facts(self) -> Facts:
        """Facts of a node that measures; all nodes of a resource are taken to be alike."""
        return Facts(**{**_answer(self._profile, _facts), "local": False, "devices": self._devices})

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a file here, as the profile's runtime does."""
        self._here.export(network, input_shape, path, precision=precision)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a file, run on one of the nodes."""
        outputs: NDArray[Any] = _answer(self._profile, _run, file.read_bytes(), images)
        return outputs

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times files side by side on one of the nodes.

        Raises:
            OSError: it went away.
        """
        contents = [file.read_bytes() for file in files]
        found = _answer(self._profile, _measure, contents, budget_s, half_width)
        return [Timing(**entry) for entry in found]

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by type of operator on one of the nodes."""
        found = _answer(self._profile, _operator_times, file.read_bytes(), images)
        return tuple(OperatorTime(**entry) for entry in found)


def _join(address: str) -> None:
    """Joins the cluster, unless this process is in it already."""
    import ray

    if not ray.is_initialized():
        reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def _units(profile: HardwareProfile) -> int:
    import ray

    units = int(ray.cluster_resources().get(profile.name, 0))
    if not units:
        raise ValueError(
            f"no Ray node offers the resource {profile.name!r}; start one on the device with: "
            f"ray start --address=HEAD:6379 --resources '{{\"{profile.name}\": 1}}'"
        )
    return units


def _answer(profile: HardwareProfile, function: Any, *arguments: Any) -> Any:
    """What a function answers on a node that has the profile's resource.

    Raises:
        OSError: no node has it any more, or the node failed.
        ValueError: the runtime there refuses what it was given.
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
        if isinstance(error.cause, ValueError):  # what the runtime refuses, not the node
            raise ValueError(f"{where} says: {words[0]}") from error
        raise OSError(f"{where} says: {words[0]}") from error
    except ray.exceptions.RayError as error:
        raise OSError(f"{lost} ({type(error).__name__})") from error


# What runs on a node: it gets a profile as a dict and files as their content.


def _target(profile: dict[str, Any]) -> Target:
    return open_target(HardwareProfile.model_validate(profile))


def _facts(profile: dict[str, Any]) -> dict[str, Any]:
    return asdict(_target(profile).facts)


def _measure(
    profile: dict[str, Any], contents: list[bytes], budget_s: float, half_width: float
) -> list[dict[str, Any]]:
    with _written(contents) as files:
        timings = _target(profile).measure(files, budget_s=budget_s, half_width=half_width)
    return [asdict(timing) for timing in timings]


def _run(profile: dict[str, Any], content: bytes, images: NDArray[Any]) -> NDArray[Any]:
    with _written([content]) as (file,):
        return _target(profile).run(file, images)


def _operator_times(
    profile: dict[str, Any], content: bytes, images: NDArray[Any] | None
) -> list[dict[str, Any]]:
    with _written([content]) as (file,):
        return [asdict(entry) for entry in _target(profile).operator_times(file, images)]


@contextmanager
def _written(contents: Sequence[bytes]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{index}.model" for index in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        yield files
