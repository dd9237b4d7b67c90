"""Whether a refactoring left results identical: the digits job under computed latencies, before and after.

    python -m tests.same_results record before.json       (in a checkout of the code before)
    python -m tests.same_results compare before.json      (in one of the code after, on the same machine)

Latencies are those of profile ``mcu``, which are computed, so a run follows from its seed alone; each seed
has three searchers and random search. Compared are a hash of the supernet's weights, every trial (arch,
accuracy, latency), the front as measured, every compression step (kept, accuracies, MACs), and the accuracies
of the artifacts. Figures hold for one machine: other processors round otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.numpy

SEEDS = (0, 1, 2)
RECIPE = """
name = "same"
[data]
source = "digits"
height = 8
width = 8
channels = 1
val_fraction = 0.2
test_fraction = 0.2
crop_padding = 1
[space]
preset = "digits"
mixers = ["identity", "pooling", "depthwise"]
[train]
epochs = 3
batch_size = 64
learning_rate = 3e-3
warmup_epochs = 1
[measure]
profile = "mcu"
fit_networks = 8
check_networks = 5
[search]
speedup = 2.5
budget = 60
searchers = ["guided", "nsga2", "optuna_tpe"]
workers = 1
[compress]
networks = 2
recovery = { epochs = 2 }
steps = ["finetune", { kind = "retrain", epochs = 2 }, "prune", "quantize"]
tolerance = 0.02
"""
Json = dict[str, Any]


def run_job(seed: int, folder: Path) -> Json:
    """Runs the job and reads what it came to."""
    recipe, run = folder / "same.toml", folder / "run"
    recipe.write_text(RECIPE)
    command = [str(Path(sys.executable).with_name("quarry")), "run", str(recipe), "--out", str(run)]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums over threads are rounded in another order
    subprocess.run([*command, "--seed", str(seed)], check=True, stdout=subprocess.DEVNULL, env=one)
    return results_of(run)


def results_of(run: Path) -> Json:
    """What a finished run came to, without times and dates."""
    weights = safetensors.numpy.load_file(run / "train" / "supernet.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].tobytes())
    front = json.loads((run / "search" / "front.json").read_text())
    return {
        "weights": digest.hexdigest(),
        "trials": {
            log.stem: [
                (trial["arch"], trial["scores"], trial["costs"]["latency_ms"]) for trial in _lines(log)
            ]
            for log in sorted((run / "search").glob("*.jsonl"))
        },
        "front": [(entry["arch"], entry["accuracy"], entry["measured_ms"]) for entry in front["front"]],
        "steps": [
            [
                step[name]
                for name in ("network", "step", "kept", "accuracy_before", "accuracy_after", "macs_after")
            ]
            for step in _lines(run / "compress" / "steps.jsonl")
        ],
        "cards": [
            (card["name"], card["arch"], card["accuracy"], card["macs"])
            for card in (json.loads(p.read_text()) for p in sorted(run.glob("artifacts/*/card.json")))
        ],
    }


def differences(before: Json, after: Json, where: str = "") -> list[str]:
    """The places, dotted, in which two results differ."""
    after = json.loads(json.dumps(after))  # tuples as lists
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [
            d for name in names for d in differences(before.get(name), after.get(name), f"{where}.{name}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [d for index, (one, other) in pairs for d in differences(one, other, f"{where}[{index}]")]
    return [] if before == after else [f"{where.lstrip('.')}: {before!r:.60} became {after!r:.60}"]


def _lines(log: Path) -> list[Json]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def main() -> None:
    """Records results, or compares them with recorded ones and exits 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    arguments = parser.parse_args()
    found = {}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found[str(seed)] = run_job(seed, Path(folder))
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(found, indent=1))
        return
    recorded = json.loads(arguments.file.read_text())
    different = [
        d for seed, results in found.items() for d in differences(recorded[seed], results, f"seed {seed}")
    ]
    print("\n".join(different[:40]) or f"the same, {len(found)} seeds")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
