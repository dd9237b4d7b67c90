"""Compressing trained networks two-, four- and eightfold: ``compress_model`` against what a person would do.

    python -m tests.benchmarks.compression DATA --out build/compression      (DATA: CIFAR-10's parquet files)
    python -m tests.benchmarks.compression DATA --networks vit --images 50000 --base-epochs 40
    python -m tests.benchmarks.compression --out build/compression --report --picture docs/compression.svg

Four small networks are trained from scratch. Quarry is given each with a speed-up as the goal and its own
defaults, apart from the epochs. The plain way is Torch-Pruning by magnitude, fine-tuning on labels, and ONNX
Runtime's static quantization, with as many processor seconds of fine-tuning as Quarry took for everything,
and its looking for the right share free of charge. The files of both sides are then judged by the same code:
accuracy on all test images, latency in turns. Whatever is done stands in the folder; the same command goes
on after an interruption. One thread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from results.files import read_json, write_atomic
from results.records import read_record
from results.records.given import GIVEN, CompressedModel
from runners.training.threads import computing_with
from tests.benchmarks.compression.judge import FILE, judged, worked
from tests.benchmarks.compression.networks import NETWORKS
from tests.benchmarks.compression.picture import picture
from tests.benchmarks.compression.results import Judged
from tests.benchmarks.compression.setting import Bench, Setting
from tests.benchmarks.compression.table import differences, over_macs, slower, table
from tests.benchmarks.settings import keep


def main() -> None:
    """Works on the networks that are asked for, then prints what there is of all."""
    parser = _parser()
    asked = parser.parse_args()
    try:
        if not asked.report:
            if not asked.data:
                parser.error("give DATA, or --report for what is there")
            _work(asked)
        _report(asked.out, asked.picture)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def _work(asked: argparse.Namespace) -> None:
    setting = Setting(
        data=str(Path(asked.data).resolve()),
        images=asked.images,
        base_epochs=asked.base_epochs,
        epochs=asked.epochs,
        factors=tuple(sorted(asked.factors)),
        seed=asked.seed,
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    keep(setting, asked.out)
    with computing_with(1):
        for name in asked.networks:
            bench = Bench(setting, name, asked.out)
            judged(bench, worked(bench))


def _report(out: Path, drawing: Path | None) -> None:
    found = {name: out / name for name in NETWORKS if (out / name / FILE).exists()}
    lines = [Judged.from_json(one) for folder in found.values() for one in read_json(folder / FILE)]
    if not lines:
        raise ValueError(f"there are no results in {out} yet")
    print(table(lines), end="\n\n")
    told = [*differences(lines), *slower(lines)]
    for name, folder in found.items():
        told += over_macs(name, read_record(CompressedModel, folder / "quarry" / GIVEN))
    print(*(f"- {one}" for one in told), sep="\n")
    if drawing:
        write_atomic(drawing, picture(lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compression", description=__doc__)
    parser.add_argument("data", nargs="?", help="Folder with train*.parquet and test*.parquet of CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("build/compression"), help="Folder of the results")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="Networks")
    parser.add_argument("--factors", nargs="+", type=float, default=[2.0, 4.0, 8.0], help="Speed-ups")
    parser.add_argument("--images", type=int, default=10_000, help="Training images to draw")
    parser.add_argument("--base-epochs", type=int, default=12, help="Epochs of the networks from scratch")
    parser.add_argument("--epochs", type=int, default=4, help="Epochs of what Quarry cut")
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything random")
    parser.add_argument("--report", action="store_true", help="Report of what is there, and no work")
    parser.add_argument("--picture", type=Path, help="SVG file of the fronts to write")
    return parser


if __name__ == "__main__":
    main()
