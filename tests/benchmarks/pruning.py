"""Which criterion and which allocation prune best: accuracy at equal latency, after the same recovery.

    python -m tests.benchmarks.pruning                 # both networks, three seeds
    python -m tests.benchmarks.pruning --seeds 1 --only allocations

Two networks, a residual one of convolutions and one with attention, are trained on scikit-learn's digits
under noise, which leaves something to lose. Each is cut by the step ``prune`` until its file is measured
three times as fast, then trained for two epochs, whatever cut it. A line is a mean over seeds of the split,
the training and the noise; beside it stand the mean and the deviation of the differences from the first
line, seed for seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from compress.candidate import Candidate, Context
from compress.onnx.file import OnnxFile
from compress.pruning.allocation import ALLOCATIONS
from compress.pruning.importance import CRITERIA
from compress.steps import Prune
from compress.target import Target
from nas.costs.counts.analytic import count
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.metaformer import Stage, metaformer

SPEEDUP, COUNTS = 3.0, 8
EPOCHS, RECOVERY_EPOCHS, BATCH = 12, 2, 64
NOISE, DRAWS = 1.0, 4
SHAPE = (1, 16, 16)
CRITERIA_SETTINGS: dict[str, Any] = {"optin_trajectory": {"images": 8, "positions": 64}}
LEFT_OUT = ("magnitude",)  # the same as l2


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.body(x) + self.shortcut(x)).relu()
        return out


def residual() -> nn.Module:
    """A residual network of convolutions, 48 and 96 channels."""
    return nn.Sequential(
        nn.Conv2d(1, 48, 3, 2, 1, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        _Residual(48, 48, 1),
        _Residual(48, 96, 2),
        _Residual(96, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


def attention() -> nn.Module:
    """A network of two stages, depthwise convolutions and then attention, 64 and 96 channels."""
    stages = [
        Stage(widths=(64,), depths=(1,), mixers=("depthwise",), ratios=(3,), resolution_step=4),
        Stage(widths=(96,), depths=(2,), mixers=("attention",), ratios=(3,)),
    ]
    space = metaformer("benchmark", stages, classes=10, input_shape=SHAPE)
    return space.build(space.largest())


NETWORKS: dict[str, Callable[[], nn.Module]] = {"residual": residual, "attention": attention}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Images (N, 1, 16, 16) without noise, and labels."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def data(seed: int) -> Data:
    """Another split for each seed; every test image under several draws of the noise."""
    digits = load_digits()
    images = torch.from_numpy((digits.images[:, None] / 8 - 1).astype(np.float32))
    images, labels = interpolate(images, SHAPE[1:], mode="bilinear"), torch.from_numpy(digits.target)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    train, test = order[:1200], order[1200:].repeat(DRAWS)
    return Data(
        images=images[train],
        labels=labels[train],
        test_images=noisy(images[test], generator),
        test_labels=labels[test],
    )


def noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images under noise."""
    return images + NOISE * torch.randn(images.shape, generator=generator)


def trained(
    network: nn.Module, given: Data, rate: float, *, seed: int, epochs: int | None = None
) -> nn.Module:
    """The network after some epochs of AdamW under a cosine, in place."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
    steps = (epochs or RECOVERY_EPOCHS) * (len(given.images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for _ in range(steps):
        batch = torch.randint(len(given.images), (BATCH,), generator=generator)
        loss = cross_entropy(network(noisy(given.images[batch], generator)), given.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of pruning came to on one network and seed."""

    accuracy: float
    speedup: float
    macs: float
    seconds: float


def pruned(start: Candidate, context: Context, step: Prune, folder: Path) -> Outcome:
    """Prunes, recovers and judges the file."""
    began = time.perf_counter()
    (candidate,) = step.propose(start, context, folder)
    seconds = time.perf_counter() - began
    before, after = context.target.measure([start.file, candidate.file], budget_s=2)
    return Outcome(
        accuracy=context.accuracy(candidate.file),
        speedup=before.median_ms / after.median_ms,
        macs=context.macs(start.network) / context.macs(candidate.network),
        seconds=seconds,
    )


def ways(only: str) -> dict[str, dict[str, Prune]]:
    """Steps by the title of their table and their name; the first is what the others are compared with."""
    usual = partial(Prune, speedup=SPEEDUP, counts=COUNTS)
    tables: dict[str, dict[str, Prune]] = {}
    if only in ("", "criteria"):
        names = ["l2", *(name for name in CRITERIA if name not in ("l2", *LEFT_OUT))]
        tables["criteria"] = {
            name: usual(importance={"kind": name, **CRITERIA_SETTINGS.get(name, {})}) for name in names
        }
    if only in ("", "allocations"):
        names = ["uniform", *(name for name in ALLOCATIONS if name != "uniform")]
        tables["allocations"] = {name: usual(allocation=name) for name in names}
        tables["allocations"]["uniform, stairs"] = usual(counts="stairs")
        tables["allocations"]["uniform, two rounds"] = usual(rounds=2, epochs=RECOVERY_EPOCHS // 2)
    return tables


def main() -> None:
    """Prints a line for each outcome as it comes, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="Networks")
    parser.add_argument("--only", default="", choices=["", "criteria", "allocations"], help="Table to make")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    target, tables = open_target(load_profile("cpu-ort")), ways(asked.only)
    for network in asked.networks:
        found: dict[str, list[Outcome]] = {}
        whole: list[float] = []
        for seed in range(asked.seeds):
            with tempfile.TemporaryDirectory() as folder:
                start, context = begun(network, seed, target, Path(folder))
                whole.append(context.accuracy(start.file))
                for title, steps in tables.items():
                    for name, step in steps.items():
                        try:
                            outcome = pruned(start, context, step, Path(folder) / "tried")
                        except ValueError as error:
                            print(f"{network}, seed {seed}, {title}, {name}: {error}", flush=True)
                            continue
                        found.setdefault(f"{title} {name}", []).append(outcome)
                        print(f"{network}, seed {seed}, {title}, {name}: {outcome}", flush=True)
        for title, steps in tables.items():
            print(*table(network, title, list(steps), found, statistics.fmean(whole)), sep="\n", flush=True)


def begun(name: str, seed: int, target: Target, folder: Path) -> tuple[Candidate, Context]:
    """A trained network with its file, and what a step may call."""
    given = data(seed)
    torch.manual_seed(seed)
    network = trained(NETWORKS[name](), given, 3e-3, seed=seed, epochs=EPOCHS)
    generator = torch.Generator().manual_seed(seed + 100)
    fixed, labels = noisy(given.images[:256], generator), given.labels[:256]

    def score(outputs: NDArray[Any]) -> float:
        return float((outputs.argmax(1) == given.test_labels.numpy()).mean())

    context = Context(
        target=target,
        example=given.images[:1],
        images=given.test_images.numpy(),
        score=score,
        calibration=fixed[:128].numpy(),
        finetune=partial(trained, given=given, rate=1e-3),
        macs=lambda network: count(network, SHAPE).macs,
        tolerance=1.0,
        loss=lambda network: cross_entropy(network(fixed), labels),
        seconds_each=1.0,
        seed=seed,
    )
    start = Candidate(network=network, file=context.file(folder, "whole"))
    context.export(network, start.file)
    assert OnnxFile(start.file)(given.test_images[:2].numpy()).shape == (2, 10)
    return start, context


def table(
    network: str, title: str, names: Sequence[str], found: dict[str, list[Outcome]], whole: float
) -> list[str]:
    """Lines of Markdown, in the order of accuracy."""
    lines = [
        f"\n{network} ({whole:.1%} before), {title}:\n",
        "| | accuracy | beside the first | speed-up | MACs | seconds |",
        "|---|---|---|---|---|---|",
    ]
    first = found.get(f"{title} {names[0]}", [])
    rows = []
    for name in names:
        outcomes = found.get(f"{title} {name}", [])
        if not outcomes:
            continue
        mean = statistics.fmean(one.accuracy for one in outcomes)
        differences = [100 * (a.accuracy - b.accuracy) for a, b in zip(outcomes, first, strict=False)]
        beside = f"{statistics.fmean(differences):+.1f}" if differences else ""
        if len(differences) > 1:
            beside += f" ± {statistics.stdev(differences):.1f}"
        speedup = statistics.fmean(one.speedup for one in outcomes)
        macs = statistics.fmean(one.macs for one in outcomes)
        seconds = statistics.fmean(one.seconds for one in outcomes)
        row = f"| {name} | {mean:.1%} | {beside} | {speedup:.2f}x | {macs:.2f}x | {seconds:.0f} |"
        rows.append((mean, row))
    return [*lines, *(row for _, row in sorted(rows, reverse=True))]


if __name__ == "__main__":
    main()
