"""What a compression step takes and gives, and what it may call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.pruning.channels import Cut
from compress.pruning.prune import Loss


class Timing(Protocol):
    """A measured latency with the interval it is known to."""

    @property
    def median_ms(self) -> float:
        """The latency."""
        ...

    @property
    def low_ms(self) -> float:
        """Lower end of its interval."""
        ...

    @property
    def high_ms(self) -> float:
        """Upper end of its interval."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the steps take from whoever runs them.

    Attributes:
        example: an input, float32 (B, ...).
        finetune: trains the network it is given on training data and returns it; gets a seed. The
            network may be trained in place. This is where distillation comes in.
        accuracy: of an exported file, run in the target runtime on validation data, in [0, 1].
        latency_ms: measures files on the target, interleaved, so that they can be compared. A ValueError
            (the target does not run a file) undoes the step that proposed the file.
        macs: multiply-accumulates of a network for one input.
        calibration: preprocessed training images, float32 (N, ...), for the ranges of activations.
        tolerance: how much accuracy compression as a whole may cost, counted from the most accurate
            network that was kept on the way.
        noise: speed-ups below this share are not believed even where the intervals do not overlap.
        loss: of a network on training data; needed by importance criteria that read gradients.
        seed: of everything that draws.
    """

    example: Tensor
    finetune: Callable[[nn.Module, int], nn.Module]
    accuracy: Callable[[Path], float]
    latency_ms: Callable[[Sequence[Path]], Sequence[Timing]]
    macs: Callable[[nn.Module], int]
    calibration: NDArray[np.float32]
    tolerance: float
    noise: float = 0.02
    loss: Loss | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network and the file that stands for it on the device.

    Attributes:
        network: a plain float module.
        file: exported from it, perhaps quantized.
        cuts: what made the network's shapes out of those of the network that compression began with.
        precision: of the file: ``float32`` or ``int8``.
        label: how a step tells its proposals apart, in words.
    """

    network: nn.Module
    file: Path
    cuts: tuple[Cut, ...] = ()
    precision: str = "float32"
    label: str = ""


class Step(Protocol):
    """One attempt to make a candidate better. A frozen dataclass with these two is a step."""

    @property
    def name(self) -> str:
        """Short, unique among the steps of a job."""
        ...

    @property
    def for_speed(self) -> bool:
        """Kept only if the file is faster; otherwise only if it is more accurate."""
        ...

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """Candidates to try, their files in ``folder``; the best acceptable one is kept.

        Raises:
            ValueError: nothing can be done here; the message is recorded as the reason.
        """
        ...
