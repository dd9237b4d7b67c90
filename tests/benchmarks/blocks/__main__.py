"""Which blocks pay: every token mixer, channel mixer and gate in one backbone, at equal latency.

    python -m tests.benchmarks.blocks DATA --out build/blocks                (DATA: CIFAR-10's parquet files)
    python -m tests.benchmarks.blocks DATA --out build/short --images 2000 --epochs 2 --test-images 2000 \\
        --seeds 2 --seconds-each 0.1                                          (all of it in some ten minutes)
    python -m tests.benchmarks.blocks --out build/blocks --table

The backbone is a MetaFormer of three stages of one block for 32x32, a stem of stride 2, ratio 2, the part in
every block with its own choices at their cheapest. Channel mixers and gates stand beside the depthwise
mixer, gates inside of ``conv_mlp``. First each is timed as an exported file at three widths, side by side,
then at the width that should take as long as the depthwise mixer at the middle width. There it is trained,
and judged on the test images. Whatever is done is a line of ``lines.jsonl``; the same command goes on. The
table is printed, the picture written as ``blocks.svg``. One thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from compress.target import Target
from nas.supernet.calibration import recalibrate
from results.files import append_line, read_lines, write_atomic
from results.names import unknown
from runners.data.load import load_data
from runners.data.splits import Prepare, Splits, stratified
from runners.recipe.schema import Data
from runners.scoring.score import score
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from runners.training.batches import TrainingData
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from tests.benchmarks.blocks.parts import SCALES, SHAPE, Part, candidate, parts
from tests.benchmarks.blocks.table import budget, equal_scale, is_of, latencies, picture, table

CALIBRATION_IMAGES = 512


class Images:
    """CIFAR-10, read when first asked for.

    Args:
        data: source of the images.
        out: folder of the decoded images.
        images: training images, the same share of every class.
        test_images: images that trained networks are judged on, likewise; 0 for all.
    """

    def __init__(self, data: str, out: Path, images: int, test_images: int = 0) -> None:
        self.data, self.out, self.images, self.test_images = data, out, images, test_images

    @cached_property
    def splits(self) -> Splits:
        recipe = Data(source=self.data, height=32, width=32, channels=3, val_fraction=0.02)
        return load_data(recipe, 0, self.out / "decoded.safetensors")

    @cached_property
    def training(self) -> TrainingData:
        """The fixed subset."""
        whole = self.splits.train
        share = self.images / len(whole)
        _, chosen = stratified(whole.labels.numpy(), share, 0, len(self.splits.classes))
        prepare = Prepare(preprocessing=self.splits.preprocessing, crop_padding=4, flip=True)
        return TrainingData(images=whole.images[chosen], labels=whole.labels[chosen], prepare=prepare)

    @cached_property
    def test(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Test images as networks get them, and their labels."""
        images, labels = self.splits.test.images, self.splits.test.labels
        if self.test_images:
            share = self.test_images / len(labels)
            _, chosen = stratified(labels.numpy(), share, 0, len(self.splits.classes))
            images, labels = images[chosen], labels[chosen]
        return self.training.prepare(images, None), labels


def settings(epochs: int, precision: str) -> TrainSettings:
    """The same for all."""
    return TrainSettings(
        epochs=epochs,
        batch_size=128,
        optimizer="muon",
        learning_rate=4e-3,
        weight_decay=0.05,
        warmup_epochs=1.0,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
        precision=precision,
    )


def measure(cases: Sequence[tuple[Part, float]], target: Target, out: Path, seconds_each: float) -> None:
    """A line with the latency of each case that has none, timed side by side, or with why there is none."""
    log = out / "lines.jsonl"
    done = {
        (line["kind"], line["part"], line["scale"]) for line in read_lines(log) if line["what"] == "latency"
    }
    files: list[Path] = []
    about: list[dict[str, Any]] = []
    for part, scale in cases:
        if (part.kind, part.name, scale) in done:
            continue
        about.append({"what": "latency", "kind": part.kind, "part": part.name, "scale": scale, "problem": ""})
        path = out / "files" / f"{part.kind.replace(' ', '-')}-{part.name}-{scale:g}.onnx"
        try:
            space = part.space(scale)
            network = space.build(space.smallest()).eval()
            if not path.exists():
                target.export(network, SHAPE, path)
            files.append(path)
        except ValueError as error:
            append_line(log, {**about.pop(), "problem": str(error)})
        print(f"{part.name} at {scale:g}: exported", flush=True)
    for line, timing in zip(
        about, target.measure(files, budget_s=len(files) * seconds_each) if files else [], strict=True
    ):
        found = {"latency_ms": timing.median_ms, "low_ms": timing.low_ms, "high_ms": timing.high_ms}
        measured = timing.status == "measured"
        append_line(log, {**line, **found} if measured else {**line, "problem": timing.reason})


def timed(found: Sequence[Part], out: Path, seconds_each: float) -> None:
    """Both rounds of timing: three widths, and the one of equal latency."""
    target, log = open_target(load_profile("cpu-ort")), out / "lines.jsonl"
    (out / "files").mkdir(parents=True, exist_ok=True)
    measure([(part, scale) for part in found for scale in SCALES], target, out, seconds_each)
    lines = list(read_lines(log))
    budget_ms = budget(lines)
    first = {
        part: {scale: ms for scale, ms in latencies(lines, part).items() if scale in SCALES} for part in found
    }
    measure(
        [(part, candidate(ms, budget_ms)) for part, ms in first.items() if len(ms) > 1],
        target,
        out,
        seconds_each,
    )


def trained(part: Part, scale: float, seed: int, images: Images, plan: TrainSettings) -> dict[str, Any]:
    """A line: a part trained at a width, and its accuracy on the test images."""
    began, space = time.process_time(), part.space(scale)
    arch = space.smallest()
    supernet = train_alone(space, arch, images.training, plan, seed=seed)
    data = images.training
    network = recalibrate(supernet.extract(arch), data.prepare(data.images[:CALIBRATION_IMAGES], None))
    return {
        "what": "accuracy",
        "kind": part.kind,
        "part": part.name,
        "scale": scale,
        "seed": seed,
        "images": images.images,
        "epochs": plan.epochs,
        "accuracy": score(network, *images.test),
        "cpu_s": time.process_time() - began,
    }


def train_all(
    found: Sequence[Part], seeds: int, out: Path, images: Images, plan: TrainSettings, minutes: float
) -> None:
    """Whatever was not trained yet, seed by seed; begins nothing new when the time is over."""
    until, log = time.monotonic() + 60 * minutes, out / "lines.jsonl"
    lines = list(read_lines(log))
    budget_ms = budget(lines)
    before = [line for line in lines if line["what"] == "accuracy"]
    for line in before:
        if (line["images"], line["epochs"]) != (images.images, plan.epochs):
            told = f"{line['epochs']} epochs of {line['images']} images"
            raise ValueError(f"{log} has trainings of {told}; take another folder")
    done = {(line["kind"], line["part"], line["scale"], line["seed"]) for line in before}
    for seed in range(seeds):
        for part in found:
            scale = equal_scale(lines, part, budget_ms)
            if scale is None or (part.kind, part.name, scale, seed) in done:
                continue
            if time.monotonic() > until:
                return
            line = trained(part, scale, seed, images, plan)
            append_line(log, line)
            told = f"{line['accuracy']:.1%} in {line['cpu_s']:.0f} processor seconds"
            print(f"{part.name}, {part.kind}, seed {seed}: {told}", flush=True)


def names_of(text: str) -> tuple[str, ...]:
    """Names of parts, separated by commas."""
    found, there = tuple(filter(None, text.split(","))), sorted({part.name for part in parts()})
    for name in found:
        if name not in there:
            raise argparse.ArgumentTypeError(unknown("part", name, there))
    return found


def main() -> None:
    """Measures and trains what is missing; prints the table and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", help="folder with CIFAR-10's parquet files")
    parser.add_argument("--out", type=Path, default=Path("build/blocks"))
    parser.add_argument("--only", type=names_of, default=(), help="names of parts, separated by commas [all]")
    parser.add_argument("--images", type=int, default=45_000, help="training images; another --out for each")
    parser.add_argument("--test-images", type=int, default=0, help="images to judge on; 0 for all [0]")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each; another --out for each")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each [3]")
    parser.add_argument("--precision", default="auto", help="bf16, fp32 or auto: bf16 where that runs [auto]")
    parser.add_argument("--seconds-each", type=float, default=1.0, help="seconds of timing for each file [1]")
    parser.add_argument("--minutes", type=float, default=math.inf, help="train nothing new after that")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    found = [part for part in parts() if not options.only or part.name in options.only]
    out = options.out
    if not options.table:
        if options.data is None:
            parser.error("give the folder of CIFAR-10's parquet files")
        torch.set_num_threads(1)
        torch.manual_seed(0)
        timed(found, out, options.seconds_each)
        images, plan = (
            Images(options.data, out, options.images, options.test_images),
            settings(options.epochs, options.precision),
        )
        train_all(found, options.seeds, out, images, plan, options.minutes)
    lines = list(read_lines(out / "lines.jsonl"))
    found = [part for part in found if any(is_of(line, part) for line in lines)]
    print(table(lines, found))
    if any(line["what"] == "accuracy" for line in lines):
        write_atomic(out / "blocks.svg", picture(lines, found).encode())


if __name__ == "__main__":
    main()
