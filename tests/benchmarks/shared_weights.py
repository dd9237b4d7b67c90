"""How much memory ten evaluation workers take for the weights of one supernet.

    python -m tests.benchmarks.shared_weights

Ten Ray workers read every weight of a supernet of some 430 MB. Then each reads from /proc/self/smaps what it
has of the shared mapping: resident (what it touched) and proportional (its share of what several processes
map). One copy means that the proportional sizes add up to one supernet; a little less, as a process of Ray
maps the same pages. Linux only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from nas.supernet.supernet import Supernet
from runners.pools.ray_pool import RayPool
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer

_WORKERS = 10
_MB = 1e6


def main() -> None:
    """Prints the table."""
    space = big_space()
    supernet = Supernet(space)
    arrays = {group: tensor.numpy() for group, tensor in supernet.flat.items()}
    weights_mb = sum(array.nbytes for array in arrays.values()) / _MB
    told = memory_of_workers(space, arrays)
    print(f"supernet {weights_mb:.0f} MB, {len(told)} workers that read all of it")
    for key, label in {
        "shared_resident": "shared mapping, resident",
        "shared_proportional": "shared mapping, proportional",
        "private": "everything else",
    }.items():
        values = [worker[key] for worker in told.values()]
        print(f"{label:30} {sum(values) / len(values):7.0f} MB a worker {sum(values):7.0f} MB in all")


def big_space() -> SearchSpace:
    """A space whose largest network has some 100 million parameters."""
    widths = ((128, 256), (256, 512), (512, 768), (512, 1024))
    stages = [Stage(widths=each, depths=(2, 4)) for each in widths]
    return metaformer("big", stages, classes=1000, input_shape=(3, 64, 64))


def memory_of_workers(space: SearchSpace, arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
    """Megabytes of each worker, by its name, after all of them have read every array."""
    arch, told = space.smallest(), {}
    with RayPool(reading_evaluator, arrays, workers=_WORKERS) as pool:
        for ticket in range(2 * _WORKERS):  # the first of each reads, the second measures
            pool.submit(ticket, arch)
        for _ in range(2 * _WORKERS):
            outcome = pool.next()
            assert outcome.scores is not None, outcome.error
            told[outcome.worker] = dict(outcome.scores)
    return told


def reading_evaluator(arrays: Mapping[str, NDArray[Any]]) -> Callable[[Arch], dict[str, float]]:
    """What a worker runs: reads all weights, waits for the others, tells its memory."""

    def evaluate(arch: Arch) -> dict[str, float]:
        total = sum(float(array.sum()) for array in arrays.values())
        assert total == total
        time.sleep(5)  # every worker gets two of these, and all have read when the second is measured
        return memory_mb()

    return evaluate


def memory_mb() -> dict[str, float]:
    """Megabytes of this process: of Ray's shared mapping, and of everything else."""
    sizes = dict.fromkeys(("shared_resident", "shared_proportional", "private"), 0.0)
    shared = False
    with open("/proc/self/smaps") as file:
        for line in file:
            key, _, rest = line.partition(" ")
            if not key.endswith(":"):
                shared = "plasma" in line or "/dev/shm" in line
                continue
            if key in ("Rss:", "Pss:"):
                size = int(rest.split()[0]) * 1024 / _MB
                if shared:
                    sizes["shared_resident" if key == "Rss:" else "shared_proportional"] += size
                elif key == "Pss:":
                    sizes["private"] += size
    return sizes


if __name__ == "__main__":
    main()
