"""How well zero-cost proxies rank networks of one latency, and of all sizes, beside a short training of each.

    python -m tests.benchmarks.zero_cost_proxies FOLDER --out build/proxies      (FOLDER: parquet files)
    python -m tests.benchmarks.zero_cost_proxies --out build/proxies --table

Of random networks of the preset ``fast-32``, exported and timed in ONNX Runtime (one thread, batch 1, the
least of many runs), the *band* are those nearest below a limit, and the *spread* are even over log latency.
Every network is a line of ``networks.jsonl`` when it is trained; the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.onnx.export import export_onnx
from nas.proxies import PROXIES, sieve
from nas.supernet.calibration import recalibrate
from results.files import append_line, read_lines
from results.statistics import bootstrap, kendall
from runners.data.load import load_data
from runners.data.splits import Prepare, Splits, stratified
from runners.measuring.stopwatch import onnx_run
from runners.recipe.schema import Data
from runners.scoring.score import score
from runners.training.batches import TrainingData
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset

NETWORKS = 12  # of the band, and of the spread
DRAWN = 100
TWICE = 3  # of each, trained from a second seed: how far two trainings of one network are apart
IMAGES = 10_000
BATCH = 64
SEVERAL = ("synflow", "naswot", "zen")  # the sieve by more than one


def build(space: SearchSpace) -> Callable[[Any], nn.Module]:
    """Networks from the same seed, so that all that is random is in the trainings."""

    def one(arch: Any) -> nn.Module:
        torch.manual_seed(0)
        return space.build(arch)

    return one


def timed(space: SearchSpace, row: np.ndarray, folder: Path) -> float:
    """Latency in ms: the least of runs in half a second, which other programs disturb least."""
    file = folder / "timed.onnx"
    arch = space.to_arch(row)
    export_onnx(build(space)(arch), space.input_shape(arch), file)
    run, least, until = onnx_run(str(file), 1, 1, {}), np.inf, time.monotonic() + 0.5
    while time.monotonic() < until:
        began = time.perf_counter_ns()
        run()
        least = min(least, (time.perf_counter_ns() - began) / 1e6)
    return float(least)


def draw(space: SearchSpace, folder: Path, limit_ms: float, most_macs: float) -> list[dict[str, Any]]:
    """The networks of both sets, timed; kept in ``drawn.jsonl``."""
    log = folder / "drawn.jsonl"
    rng = np.random.default_rng(0)
    rows = np.unique(space.sample(20_000, rng), axis=0)
    macs = space.sum_over_layers(rows, space.layer_macs)
    rows = rng.permutation(rows[macs <= most_macs])[:DRAWN]
    known = list(read_lines(log))
    for index in range(len(known), len(rows)):
        append_line(log, {"row": rows[index].tolist(), "latency_ms": timed(space, rows[index], folder)})
    latency = np.array([line["latency_ms"] for line in read_lines(log)])
    below = np.flatnonzero(latency <= limit_ms)
    band = below[np.argsort(-latency[below])][:NETWORKS]
    even = np.geomspace(latency.min(), latency.max(), NETWORKS)
    spread: list[int] = []
    for wanted in even:
        left = [index for index in range(len(rows)) if index not in spread]
        spread.append(min(left, key=lambda index: abs(np.log(latency[index] / wanted))))
    return [
        {"set": name, "row": rows[index].tolist(), "latency_ms": float(latency[index])}
        for name, chosen in (("band", band), ("spread", spread))
        for index in chosen
    ]


class Images:
    """A subset of the training images, the same share of every class, and the test images."""

    def __init__(self, folder: Path) -> None:
        data = Data(source=str(folder), height=32, width=32, val_fraction=0.02)
        splits: Splits = load_data(data, seed=0)
        whole = splits.train
        _, chosen = stratified(whole.labels.numpy(), IMAGES / len(whole), 0, len(splits.classes))
        prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=2, flip=True)
        self.training = TrainingData(
            images=whole.images[chosen], labels=whole.labels[chosen], prepare=prepare
        )
        self.test, self.labels = prepare(splits.test.images, None), splits.test.labels

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """What proxies see."""
        return self.training.prepare(self.training.images[:BATCH], None), self.training.labels[:BATCH]


def train(space: SearchSpace, row: list[int], images: Images, epochs: int, seed: int) -> float:
    """Test accuracy after a short training alone."""
    settings = TrainSettings(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=4e-3,
        weight_decay=0.05,
        warmup_epochs=0.5,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
        precision="bf16",
    )
    arch = space.to_arch(row)
    trained = train_alone(space, arch, images.training, settings, seed=seed)
    network = recalibrate(trained.extract(arch), images.training.prepare(images.training.images[:1024], None))
    return score(network, images.test, images.labels)


def work(space: SearchSpace, chosen: list[dict[str, Any]], images: Images, out: Path, epochs: int) -> None:
    """Scores and trains what is not there yet."""
    log = out / "networks.jsonl"
    done = {(line["set"], tuple(line["row"]), line["seed"]) for line in read_lines(log)}
    plan = []
    for name in ("band", "spread"):
        own = [one for one in chosen if one["set"] == name]
        plan += [(one, 0) for one in own] + [(one, 1) for one in own[:: NETWORKS // TWICE]]
    for one, seed in plan:
        if (one["set"], tuple(one["row"]), seed) in done:
            continue
        line = {**one, "seed": seed}
        if not seed:
            arch, scores = space.to_arch(one["row"]), {}
            for name in PROXIES:
                began = time.process_time()
                found = sieve([arch], build(space), [name], *images.batch, F.cross_entropy, seed=0)
                scores[name] = {"score": found.scores[name][0], "cpu_s": time.process_time() - began}
            line["proxies"] = scores
        began = time.process_time()
        line["accuracy"] = train(space, one["row"], images, epochs, seed)
        line["cpu_s"] = time.process_time() - began
        append_line(log, line)
        print(f"{one['set']}: {one['latency_ms']:.3f} ms, {line['accuracy']:.1%}", flush=True)


def mean_rank(scores: dict[str, np.ndarray]) -> np.ndarray:
    """What a sieve by several proxies goes by, higher is better."""
    return np.mean([scores[name].argsort().argsort() for name in SEVERAL], axis=0)


def table(out: Path) -> str:
    """Tau of each proxy with the accuracy after training, with bootstrap intervals over networks."""
    lines = list(read_lines(out / "networks.jsonl"))
    taus: dict[str, list[str]] = {}
    notes = []
    for name in ("band", "spread"):
        own = [line for line in lines if line["set"] == name and line["seed"] == 0]
        accuracy = np.array([line["accuracy"] for line in own])
        again = {
            tuple(line["row"]): line["accuracy"] for line in lines if line["set"] == name and line["seed"]
        }
        gaps = [line["accuracy"] - again[key] for line in own if (key := tuple(line["row"])) in again]
        scores = {
            proxy: np.array([line["proxies"][proxy]["score"] for line in own]) for proxy in own[0]["proxies"]
        }
        told = {"latency": np.array([line["latency_ms"] for line in own]), **scores}
        told[f"mean rank of {', '.join(SEVERAL)}"] = mean_rank(scores)
        for proxy, values in told.items():
            tau = bootstrap(kendall, values, accuracy, seed=0)
            taus.setdefault(proxy, []).append(f"{tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})")
        noise = f"{100 * np.sqrt(np.mean(np.square(gaps)) / 2):.1f}" if gaps else "not measured"
        latency = [line["latency_ms"] for line in own]
        notes.append(
            f"{name}: {len(own)} networks of {min(latency):.3f} to {max(latency):.3f} ms, "
            f"accuracy {accuracy.min():.1%} to {accuracy.max():.1%}, standard deviation "
            f"{100 * accuracy.std():.1f} points; of one network from seed to seed {noise} "
            f"({len(gaps)} pairs); a training {np.mean([line['cpu_s'] for line in own]):.0f} s of one core"
        )
    first = [line for line in lines if line["seed"] == 0]
    seconds = {
        name: np.median([line["proxies"][name]["cpu_s"] for line in first]) for name in first[0]["proxies"]
    }
    rows = ["| proxy | tau, band | tau, spread | s a network |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {' | '.join(found)} | {f'{seconds[name]:.2f}' if name in seconds else ''} |"
        for name, found in taus.items()
    ]
    return "\n".join([*rows, "", *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with CIFAR-10's parquet files")
    parser.add_argument("--out", type=Path, default=Path("build/proxies"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit-ms", type=float, default=0.06, help="upper end of the band")
    parser.add_argument("--most-macs", type=float, default=1.2e7, help="of the networks that are drawn")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    args = parser.parse_args()
    if not args.table:
        torch.set_num_threads(1)
        args.out.mkdir(parents=True, exist_ok=True)
        space = preset("fast-32", classes=10, input_shape=(3, 32, 32))
        chosen = draw(space, args.out, args.limit_ms, args.most_macs)
        work(space, chosen, Images(args.folder), args.out, args.epochs)
    print(table(args.out))


if __name__ == "__main__":
    main()
