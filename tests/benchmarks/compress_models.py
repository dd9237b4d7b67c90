"""Classifiers that others wrote, compressed: pruned, quantized, exported, compared, measured.

    python -m tests.benchmarks.compress_models [NAME ...] [--seconds 0.3]

Some ten minutes on one core for all. Small variants with random weights (``tests/classifiers.py``): shown
is what can be cut and that the files are right, not accuracy. Half of the channels are cut, in multiples of
the first of 16, 8 and 4 by which any can be; then the float file and the fastest int8 file are measured
beside the one of the whole network.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compress.candidate import Candidate, Context
from compress.failure import reason
from compress.onnx.verify import verify
from compress.pruning.prune import Pruned, prune
from compress.steps import Quantize
from nas.costs.counts.analytic import count
from runners.adopting.taken_up import INSIDE, example_of, taken_up
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.classifiers import CLASSIFIERS, classifier

_COUNTS = (16, 8, 4)
_IMAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one network.

    Attributes:
        name: name of the network.
        macs: share of the multiply-accumulates that is left.
        groups: groups of channels that were cut.
        left: groups that cannot be cut, without those that are the outputs.
        parity: largest difference of the pruned network's file from it, of the largest output.
        faster: latency of the whole network's file over that of the pruned one's.
        int8: the same for the fastest int8 file of the pruned network; 0 where there is none.
        int8_error: root mean square of that file's difference, of that of the outputs.
        why: reasons of what stays, or of what failed.
    """

    name: str
    macs: float = 1.0
    groups: int = 0
    left: int = 0
    parity: float = 0.0
    faster: float = 0.0
    int8: float = 0.0
    int8_error: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        cells = [
            self.name,
            f"{self.macs:.2f}",
            f"{self.groups} of {self.groups + self.left}",
            f"{self.parity:.0e}" if self.faster else "",
            f"{self.faster:.2f}x" if self.faster else "",
            f"{self.int8:.2f}x" if self.int8 else "",
            f"{self.int8_error:.0%}" if self.int8 else "",
            self.why,
        ]
        return f"| {' | '.join(cells)} |"


HEAD = "| network | MACs left | groups cut | parity | pruned | and int8 | int8 error | why not |\n|---" + (
    "|---" * 7 + "|"
)


def half_of(network: nn.Module, example: torch.Tensor) -> Pruned:
    """The network with half of its channels, in the largest multiples by which any can be cut."""
    for counts in _COUNTS:
        pruned = prune(network, example, keep=0.5, counts=counts)
        if pruned.cuts:
            break
    return pruned


def compressed(name: str, folder: Path, seconds: float) -> Row:
    """One network, start to end; what fails is a row too."""
    shape = (3, CLASSIFIERS[name][2], CLASSIFIERS[name][2])
    example = example_of(shape)
    try:
        network = taken_up(classifier(name), example).eval()
        pruned = half_of(network, example)
        left = [one for one in pruned.refused if "outputs" not in one.reason]
        why = "; ".join(f"{one.root.removeprefix(INSIDE)}: {one.reason}" for one in left[:1]) or (
            "" if pruned.cuts else "nothing can be cut"
        )
        context = context_without_training(example, shape)
        whole, small = context.file(folder, "whole"), context.file(folder, "small")
        context.export(network, whole)
        context.export(pruned.network, small)
        labels = np.zeros(_IMAGES, dtype=np.int64)
        checked = verify(small, pruned.network, (context.images, labels))
        start = Candidate(network=pruned.network, file=small)
        try:
            quantized = Quantize().propose(start, context, folder)
        except ValueError as error:
            quantized, why = [], f"{why}; int8: {error}"
        files = [whole, small, *(one.file for one in quantized)]
        timings = context.target.measure(files, budget_s=seconds * len(files))
        latencies = [one.median_ms if one.status == "measured" else np.inf for one in timings]
        best = int(np.argmin(latencies[2:])) if quantized else -1
        return Row(
            name=name,
            macs=context.macs(pruned.network) / context.macs(network),
            groups=len(pruned.cuts),
            left=len(left),
            parity=checked.max_difference / max(checked.logit_scale, 1e-12),
            faster=latencies[0] / latencies[1],
            int8=latencies[0] / latencies[2 + best] if quantized else 0.0,
            int8_error=_error(context, quantized[best], pruned.network) if quantized else 0.0,
            why=why,
        )
    except Exception as error:  # whatever a strange network or library raises
        return Row(name=name, why=reason(error))


def context_without_training(example: torch.Tensor, shape: tuple[int, int, int]) -> Context:
    images = torch.randn(_IMAGES, *shape, generator=torch.Generator().manual_seed(1)).numpy()

    def untrained(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        del seed, epochs
        return network

    return Context(
        target=open_target(load_profile("cpu-ort")),
        example=example,
        images=images,
        score=lambda outputs: float(len(outputs) > 0),
        calibration=images,
        finetune=untrained,
        macs=lambda network: count(network, shape).macs,
        tolerance=1.0,
    )


def _error(context: Context, quantized: Candidate, network: nn.Module) -> float:
    with torch.no_grad():
        right = network(torch.from_numpy(context.images)).numpy()
    difference = context.target.run(quantized.file, context.images) - right
    return float(np.sqrt(np.mean(difference**2)) / np.sqrt(np.mean((right - right.mean(axis=0)) ** 2)))


def main() -> None:
    """Prints a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=0.3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(HEAD)
    for name in given.names or CLASSIFIERS:
        with tempfile.TemporaryDirectory() as folder:
            print(compressed(name, Path(folder), given.seconds), flush=True)


if __name__ == "__main__":
    main()
