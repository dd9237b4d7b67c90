"""What a compression step takes and gives, and what it may call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.pruning.channels import Cut
from compress.pruning.importance import Loss
from compress.swaps.swap import Swap
from compress.target import Target


class Finetuning(Protocol):
    """Training of a network further, on training data; the network may be trained in place."""

    def __call__(self, network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        """The trained network, in eval mode; ``epochs`` None means as many as is usual."""
        ...


class Retraining(Protocol):
    """Training from scratch of the network that compression begins with."""

    def __call__(self, *, seed: int, epochs: int | None = None, taught: bool = False) -> nn.Module:
        """The trained network, in eval mode.

        Args:
            seed: Seed of all that is drawn.
            epochs: Epochs to train; None means as many as is usual.
            taught: Whether it learns from teachers too; otherwise from labels alone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the steps take from whoever runs them.

    Attributes:
        target: Runtime and device that files are exported for, run on and timed on.
        example: Input of the network, float32 (B, ...).
        images: Validation images as network input, float32 (N, ...).
        score: Accuracy in [0, 1] of a network's outputs (N, ...) for ``images``.
        calibration: Preprocessed training images, float32 (N, ...), for the ranges of activations.
        finetune: Training of a network further. This is where distillation comes in.
        retrain: Training from scratch; None where there is no way to.
        loss: Loss of a network on training data, for importance criteria that read gradients.
        macs: Multiply-accumulates of a network for one input.
        tolerance: Accuracy that compression as a whole may cost, counted from the most accurate network that
            was kept on the way.
        limit_ms: Latency that is fast enough: steps for speed are not tried on a file that has it; None where
            faster is always better.
        by_size: Whether steps for speed are judged by the size of the file, and not by its latency.
        noise: Share of a latency below which a gain is not believed, even where the intervals do not overlap.
        certain: Whether a step for speed has to be faster beyond the noise; otherwise its median has to be
            lower, where whoever runs the steps has looked ahead and measures all files again in the end.
        seconds_each: Time to measure a file for, in seconds.
        seed: Seed of everything that draws.
    """

    target: Target
    example: Tensor
    images: NDArray[np.float32]
    score: Callable[[NDArray[Any]], float]
    calibration: NDArray[np.float32]
    finetune: Finetuning
    macs: Callable[[nn.Module], int]
    tolerance: float
    retrain: Retraining | None = None
    loss: Loss | None = None
    limit_ms: float | None = None
    by_size: bool = False
    noise: float = 0.02
    certain: bool = True
    seconds_each: float = 1.5
    seed: int = 0

    def file(self, folder: Path, name: str) -> Path:
        """Path of a file of that name; the ending is the target's."""
        return folder / f"{name}.{self.target.facts.format}"

    def export(self, network: nn.Module, file: Path) -> None:
        """Writes a network as a float file of the target.

        Raises:
            ValueError: it cannot be exported.
            OSError: the file cannot be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        precision = self.target.facts.float_precision
        self.target.export(network, tuple(self.example.shape[1:]), file, precision=precision)

    def exported(
        self,
        current: Candidate,
        network: nn.Module,
        file: Path,
        *,
        cuts: tuple[Cut, ...] = (),
        swaps: tuple[Swap, ...] = (),
        label: str = "",
    ) -> Candidate:
        """A candidate with the float file of a network that was made from the current one's.

        Args:
            current: Candidate that the step began with.
            network: Plain float module.
            file: File to write.
            cuts: Cuts that were made in the current network.
            swaps: Exchanges that were made in it.
            label: Words that tell the candidates of one step apart.

        Raises:
            ValueError: it cannot be exported.
            OSError: the file cannot be written.
        """
        self.export(network, file)
        return Candidate(
            network=network,
            file=file,
            cuts=(*current.cuts, *cuts),
            swaps=(*current.swaps, *swaps),
            precision=self.target.facts.float_precision,
            label=label,
        )

    def finetune_in_place(self, network: nn.Module, *, epochs: int | None, changed: str) -> None:
        """Trains a network further whose modules were exchanged for the training.

        Args:
            network: Network, trained in place.
            epochs: Epochs to train; None means as many as is usual.
            changed: What was done to it, for the error.

        Raises:
            ValueError: the training function trains another network than the one it is given.
        """
        if self.finetune(network, seed=self.seed, epochs=epochs) is not network:
            raise ValueError(
                f"{changed} in the network that is given to the training function, which has to train it in "
                "place and to return it"
            )

    def accuracy(self, file: Path) -> float:
        """Accuracy in [0, 1] of a file, run on the target over the validation images.

        Raises:
            ValueError: the target does not run it.
        """
        return self.score(self.target.run(file, self.images))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network and the file that stands for it on the target.

    Attributes:
        network: Plain float module.
        file: File exported from it, perhaps quantized.
        cuts: Cuts that made the network's shapes out of those of the network that compression began with.
        swaps: Exchanges of modules after the cuts.
        precision: Number format of the file: ``int8``, the target's float one, or that of its weights alone
            (``fp16``).
        label: Words that tell the candidates of one step apart.
    """

    network: nn.Module
    file: Path
    cuts: tuple[Cut, ...] = ()
    swaps: tuple[Swap, ...] = ()
    precision: str = "fp32"
    label: str = ""


class Step(Protocol):
    """One attempt to make a candidate better, registered in ``compress.steps.STEPS``.

    Its fields are its settings in a recipe; what it needs at work comes by the context.
    """

    @property
    def for_speed(self) -> bool:
        """Whether it is kept only if the file is faster; otherwise only if it is more accurate."""
        ...

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """Candidates to try, their files in ``folder``; the best acceptable one is kept.

        Raises:
            ValueError: nothing can be done here; the message is recorded as the reason.
        """
        ...
