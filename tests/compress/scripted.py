"""Steps whose files say what they are measured at, and a target that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.candidate import Candidate, Context
from tests.compress.targets import FakeTarget, around, context


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A step whose file says what it will be measured at, and whose weights say that it ran."""

    median_ms: float = 0.0
    accuracy: float = 0.0
    for_speed: bool = True
    does: Callable[[], None] = lambda: None

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        self.does()
        network = nn.Conv2d(1, 2, 1)
        network.load_state_dict(current.network.state_dict())
        with torch.no_grad():
            network.weight += 1
        file = context.file(folder, "scripted")
        file.write_text(json.dumps([self.median_ms, self.accuracy]))
        return [replace(current, network=network, file=file, label=f"{self.median_ms} ms")]


def raising(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def told(path: Path) -> list[float]:
    """Latency and accuracy of a file: as a scripted one says; 1 ms at 90 % for a real one."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return [1.0, 0.9]


def scripted_target(**changes: Any) -> FakeTarget:
    target = FakeTarget(
        latency=lambda file: around(told(file)[0]), outputs=lambda file, images: np.array([told(file)[1]])
    )
    return replace(target, **changes)


def scripted(**changes: Any) -> Context:
    return context(**({"target": scripted_target()} | changes))


SCRIPT = [
    Scripted(median_ms=1.0, accuracy=0.95, for_speed=False),
    Scripted(median_ms=0.5, accuracy=0.9),
    Scripted(does=raising(ValueError("there is nothing to cut"))),
    Scripted(median_ms=0.4, accuracy=0.935),
]
NAMES = ["scripted", "scripted-2", "scripted-3", "scripted-4"]
