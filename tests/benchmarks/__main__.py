"""``make bench``: every benchmark in turn, on a machine that does nothing else."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "supernet_overhead",
    "shared_weights",
    "search_throughput",
    "search_regret",
    "pool_overhead",
    "compression_speed",
    "pruning --seeds 1 --networks residual",
    "latency_table",
    "block_latency",
    "by_hand digits --recipe digits --limits 0.02 --minutes 2 --seeds 1 --set search.ranking=alone",
)

if __name__ == "__main__":
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", *f"tests.benchmarks.{name}".split()], check=True)
