"""Which ways to learn from a teacher pay: a small student, each way for the same time on one core.

    python -m tests.benchmarks.teachers DATA --out build/teachers     (DATA: digits, or CIFAR-10's files)
    python -m tests.benchmarks.teachers digits --out build/teachers_digits --images 300 --seconds 4 --seeds 5
    python -m tests.benchmarks.teachers --out build/teachers --table

Teacher and student are plain convolutional networks of three stages, at 16x16 (digits at 8x8). Two teachers
are trained first; their time is not counted, as that of networks which one has, nor that of asking once what
is kept of one. An epoch of each way is timed
on the processor's clock, and the student trained for as many as fit. Whatever is done is a line of
``lines.jsonl``; the same command goes on. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from nas.distillation import METHODS, Teacher
from results.files import append_line, read_lines, replace_atomic
from runners.data.load import load_data
from runners.data.splits import Prepare, stratified
from runners.recipe.schema import Data
from runners.scoring.score import score
from runners.training.batches import TrainingData
from runners.training.finetuning import Taught, finetune
from runners.training.relabelling import Relabelled, relabelled
from runners.training.settings import TrainSettings
from runners.training.threads import computing_with

TEACHER, STUDENT = 48, 8  # channels of the first stage
VIEWS = 3  # of what is kept of the teacher, along each side
TEACHERS_SECONDS = 6  # times those of a student
LABELS = "labels alone"
KD = ("kd", {"temperature": 4.0})
WAYS: dict[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    LABELS: (),
    "kd": (KD,),
    "kd, kept": (KD,),
    "kd, two teachers": (KD,),
    "kd, itself": (KD,),
    "dist": (("dist", {}),),
    "kd, features": (KD, ("features", {"weight": 0.5})),
    "kd, features, searched": (KD, ("features", {"weight": 0.5, "projection": "searched"})),
    "kd, attention": (KD, ("attention", {"weight": 10.0})),
    "kd, relational": (KD, ("relational", {})),
    "kd, scale": (KD, ("scale", {})),
    "kd, progressive": (KD, ("progressive", {"share": 0.3})),
}
"""Methods of each way, by its name."""


def network(width: int, channels: int, seed: int) -> nn.Module:
    """Three stages, each of half the resolution of the one before, and a head for ten classes."""
    torch.manual_seed(seed)
    stages, inputs = [], channels
    for outputs in (width, 2 * width, 4 * width):
        conv = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        again = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        norms = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        stages.append(nn.Sequential(conv, norms[0], nn.ReLU(), again, norms[1], nn.ReLU()))
        inputs = outputs
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def settings(epochs: int) -> TrainSettings:
    """The same for all."""
    return TrainSettings(
        epochs=epochs,
        batch_size=64,
        learning_rate=4e-3,
        weight_decay=0.05,
        warmup_epochs=1.0,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the ways are tried on.

    Attributes:
        data: Source of the images.
        images: Training images, the same share of every class.
        seconds: Seconds of a student's training, on the processor's clock.
        out: Folder of lines and teachers.
    """

    data: str
    images: int
    seconds: float
    out: Path

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Channels and side of an image."""
        return (1, 8) if self.data == "digits" else (3, 16)

    @cached_property
    def _loaded(self) -> tuple[TrainingData, tuple[Tensor, Tensor]]:
        channels, side = self.shape
        recipe = Data(source=self.data, height=side, width=side, channels=channels)
        splits = load_data(recipe, 0, self.out / "decoded.safetensors")
        whole = splits.train
        kept = min(self.images, len(whole) - 10) / len(whole)
        _, chosen = stratified(whole.labels.numpy(), kept, 0, len(splits.classes))
        padding = side // 8
        prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=padding, flip=side > 8)
        training = TrainingData(images=whole.images[chosen], labels=whole.labels[chosen], prepare=prepare)
        return training, (prepare(splits.test.images, None), splits.test.labels)

    @property
    def training(self) -> TrainingData:
        """The fixed training images."""
        return self._loaded[0]

    @property
    def test(self) -> tuple[Tensor, Tensor]:
        """Test images as networks get them, and their labels."""
        return self._loaded[1]

    def teacher(self, seed: int, width: int = TEACHER) -> nn.Module:
        """A network trained on labels before; the widest six times as long as a student."""
        made, path = network(width, self.shape[0], seed), self.out / f"teacher-{width}-{seed}.safetensors"
        if not path.exists():
            seconds = self.seconds * (TEACHERS_SECONDS if width == TEACHER else 1)
            finetune(made, self.training, settings(self.epochs(made, Taught(), seconds)), seed=seed)
            weights = made.state_dict()
            replace_atomic(path, lambda file: safetensors.torch.save_file(weights, file))
        made.load_state_dict(safetensors.torch.load_file(path))
        return made.eval()

    def taught(self, way: str, seed: int) -> Taught:
        """Who teaches, and how."""
        if way == LABELS:
            return Taught()
        if way.endswith("itself"):
            teachers: tuple[Teacher, ...] = (self.teacher(100 + seed, STUDENT),)
        else:
            teachers = tuple(self.teacher(at) for at in range(2 if "two" in way else 1))
        if way.endswith("kept"):
            path = self.out / f"kept-{TEACHER}.safetensors"
            teachers = (relabelled(teachers, self.training.images, self.training.prepare, path, views=VIEWS),)
        methods = tuple(METHODS.configured(name, given) for name, given in WAYS[way])
        return Taught(teachers=teachers, methods=methods, teacher_weight=0.7)

    def epochs(self, student: nn.Module, taught: Taught, seconds: float) -> int:
        """Epochs that fit into a time, by the second of two that are thrown away; two or more."""
        few = self.training
        if not any(isinstance(one, Relabelled) for one in taught.teachers):  # which is of all images
            few = replace(few, images=few.images[:640], labels=few.labels[:640])
        spent = []
        for _ in range(2):
            began = time.process_time()
            finetune(network_like(student), few, settings(1), taught=taught, seed=0)
            spent.append(time.process_time() - began)
        steps = max(1, len(few.images) // 64)
        return max(2, round(seconds / (spent[-1] / steps) / (len(self.training.images) // 64)))

    def tried(self, way: str, seed: int) -> dict[str, Any]:
        """A line: a student trained in one way, and its accuracy on the test images."""
        taught, student = self.taught(way, seed), network(STUDENT, self.shape[0], seed)
        epochs = self.epochs(student, taught, self.seconds)
        began = time.process_time()
        done = finetune(student, self.training, settings(epochs), taught=taught, seed=seed)
        return {
            "way": way,
            "seed": seed,
            "epochs": epochs,
            "accuracy": score(done, *self.test),
            "cpu_s": time.process_time() - began,
        }


def network_like(student: nn.Module) -> nn.Module:
    """A network of the same sizes with weights of its own."""
    first = student[0][0]  # type: ignore[index]
    return network(first.out_channels, first.in_channels, 0)


def table(lines: Sequence[Mapping[str, Any]], teachers: Sequence[float]) -> str:
    """A row for each way, with the mean over the seeds and how far it is from labels alone, seed by seed."""
    by_way: dict[str, dict[int, Mapping[str, Any]]] = {}
    for line in lines:
        by_way.setdefault(line["way"], {})[line["seed"]] = line
    plain = by_way.get(LABELS, {})
    rows = ["| way | epochs | accuracy | against labels alone |", "|---|---|---|---|"]
    for way in (way for way in WAYS if way in by_way):
        found = by_way[way]
        mean = statistics.mean(one["accuracy"] for one in found.values())
        apart = [
            100 * (one["accuracy"] - plain[seed]["accuracy"]) for seed, one in found.items() if seed in plain
        ]
        spread = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
        against = "" if way == LABELS else f"{statistics.mean(apart):+.1f} ± {spread:.1f}"
        epochs = statistics.median(one["epochs"] for one in found.values())
        rows.append(f"| {way} | {epochs:g} | {100 * mean:.1f} % | {against} |")
    told = " and ".join(f"{100 * one:.1f} %" for one in teachers)
    return "\n".join([*rows, "", f"Teachers: {told}."])


def main() -> None:
    """Trains what has no line yet, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default="", help="names of ways, between semicolons; all by default")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(data=options.data, images=options.images, seconds=options.seconds, out=options.out)
    log = options.out / "lines.jsonl"
    ways = [way.strip() for way in options.ways.split(";") if way.strip()] or list(WAYS)
    if not options.table:
        with computing_with(1):
            for seed in range(options.seeds):
                for way in ways:
                    if not any(one["way"] == way and one["seed"] == seed for one in read_lines(log)):
                        append_line(log, bench.tried(way, seed))
                        print(f"{way}, seed {seed}: done", flush=True)
            there = [at for at in (0, 1) if (options.out / f"teacher-{TEACHER}-{at}.safetensors").exists()]
            scores = [score(bench.teacher(at), *bench.test) for at in there]
            append_line(log, {"way": "teachers", "seed": 0, "accuracy": scores})
    lines = list(read_lines(log))
    told = [one["accuracy"] for one in lines if one["way"] == "teachers"]
    print(table([one for one in lines if one["way"] != "teachers"], told[-1] if told else []))


if __name__ == "__main__":
    main()
