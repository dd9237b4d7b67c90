"""The way without Quarry: Torch-Pruning, plain fine-tuning, ONNX Runtime's static quantization.

Channels are ranked by magnitude and every layer loses the same share, in multiples of 8 as the README of
Torch-Pruning has it. How many is found as a person finds it: shares of tenths are exported, as floats and as
int8, and timed; of those that are fast enough the largest is fine-tuned on labels. What the looking costs is
not charged to this side.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch_pruning as tp
from torch import nn

from nas.costs.counts.analytic import count
from results.files import read_json, write_json
from results.records import Record
from runners.training.batches import batches_per_epoch
from runners.training.finetuning import finetune
from tests.benchmarks.by_hand.hand import step_s
from tests.benchmarks.by_hand.int8 import quantize
from tests.benchmarks.compression.networks import Attention
from tests.benchmarks.compression.results import PLAIN, Answer
from tests.benchmarks.compression.setting import SHAPE, Bench

SHARES = tuple(tenths / 10 for tenths in range(10, 0, -1))
CALIBRATION = 256  # images
_LOOK_S = 0.3  # of measuring each file that is not trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked(Record):
    """A share, not trained, as a file.

    Attributes:
        share: share of the channels that was kept.
        precision: number format of the file.
        speedup: times as fast as the network as it is.
    """

    share: float
    precision: str
    speedup: float


def pruned(network: nn.Module, share: float) -> nn.Module:
    """A copy with a share of its channels; the classifier stays."""
    network = copy.deepcopy(network)
    if share < 1:
        heads = {one.qkv: one.heads for one in network.modules() if isinstance(one, Attention)}
        last = [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
        tp.pruner.BasePruner(
            network,
            torch.zeros(1, *SHAPE),
            importance=tp.importance.MagnitudeImportance(p=2),
            pruning_ratio=1 - share,
            ignored_layers=[last],
            num_heads=heads,
            round_to=8,
        ).step()
    return network


def files(bench: Bench, network: nn.Module, stem: Path) -> dict[str, Path]:
    """The network exported as floats and as int8, by number format; int8 is left out where it fails."""
    calibration = bench.data.training_images(CALIBRATION).numpy()
    found = {"fp32": stem.with_name(f"{stem.name}-fp32.onnx")}
    stem.parent.mkdir(parents=True, exist_ok=True)
    bench.target.export(network.eval(), SHAPE, found["fp32"])
    target = stem.with_name(f"{stem.name}-int8.onnx")
    try:
        quantize(found["fp32"], calibration, target)
    except Exception as error:  # whatever the library raises for a graph
        print(f"{bench.name}: ONNX Runtime does not quantize {stem.name}: {error}")
        return found
    return found | {"int8": target}


def look(bench: Bench, network: nn.Module) -> list[Looked]:
    """How fast every share is; looked at once."""
    record = bench.folder / "plain" / "look.json"
    if record.exists():
        return [Looked.from_json(one) for one in read_json(record)]
    made = [
        (share, precision, file)
        for share in SHARES
        for precision, file in files(
            bench, pruned(network, share), bench.folder / "plain" / "look" / f"{share:g}"
        ).items()
    ]
    timings = bench.target.measure([file for *_, file in made], budget_s=_LOOK_S * len(made))
    found = [
        Looked(share=share, precision=precision, speedup=timings[0].median_ms / timing.median_ms)
        for (share, precision, _), timing in zip(made, timings, strict=True)
        if timing.status == "measured"
    ]
    write_json(record, [one.to_json() for one in found])
    return found


def chosen(looked: list[Looked], factor: float) -> Looked:
    """The largest share that is fast enough, as floats or as int8; the fastest where none is."""
    enough = [one for one in looked if one.speedup >= factor]
    return max(enough, key=lambda one: (one.share, one.speedup)) if enough else _fastest(looked)


def _fastest(looked: list[Looked]) -> Looked:
    return max(looked, key=lambda one: one.speedup)


def answer(bench: Bench, network: nn.Module, factor: float, budget_s: float) -> Answer:
    """Prunes, trains for a budget, and quantizes; the most accurate of the files that are fast enough.

    Args:
        bench: what both sides are given.
        network: the trained network.
        factor: times as fast that the file is to be.
        budget_s: processor seconds for fine-tuning.
    """
    looked = look(bench, network)
    share = chosen(looked, factor).share
    small = pruned(network, share)
    settings = bench.settings(1)
    steps = batches_per_epoch(len(bench.training.images), settings.batch_size)
    epochs = max(1, round(budget_s / (steps * step_s(small, bench.training, settings, bench.setting.seed))))
    print(f"{bench.name}, plain, {factor:g} times: {share:.0%} of the channels, {epochs} epochs", flush=True)
    began_s = time.process_time()
    trained = finetune(
        small,
        bench.training,
        bench.settings(epochs),
        seed=bench.setting.seed,
        checkpoint=bench.folder / "plain" / f"{factor:g}.safetensors",
    )
    cpu_s = time.process_time() - began_s
    made = files(bench, trained, bench.folder / "plain" / f"{factor:g}")
    return _best(bench, made, factor, share, count(trained, SHAPE).macs, cpu_s)


def _best(
    bench: Bench, made: Mapping[str, Path], factor: float, share: float, macs: int, cpu_s: float
) -> Answer:
    """The most accurate of the files that are fast enough, or the fastest."""
    given = bench.exported()
    first, *timings = bench.target.measure([given, *made.values()], budget_s=1.0 * (1 + len(made)))
    rows = []
    for (precision, file), timing in zip(made.items(), timings, strict=True):
        within = timing.status == "measured" and first.median_ms / timing.median_ms >= factor
        validation = bench.accuracy(file, bench.data.splits.val)
        rows.append(((within, validation if within else -timing.median_ms), precision, file, validation))
    (within, _), precision, file, validation = max(rows)
    return Answer(
        side=PLAIN,
        factor=factor,
        file=str(file),
        precision=precision,
        share=share,
        macs=macs,
        validation=validation,
        within=within,
        cpu_s=cpu_s,
    )
