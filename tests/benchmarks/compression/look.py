"""What fewer channels, int8 and fewer blocks gain in time: the look ahead of ``compress_model`` as a table.

    python -m tests.benchmarks.compression.look
    python -m tests.benchmarks.compression.look resnet18-whole mobilenetv3-128 --shares 0.5

Latency does not depend on weights, so nothing is trained. One thread.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from compress.candidate import Candidate
from runners.compressing.scan import Looking, Scan, scan
from runners.training.threads import computing_with
from search_spaces.space import Shape
from tests.benchmarks.by_hand.families import mobilenet_v3
from tests.benchmarks.compress_models import context_without_training
from tests.benchmarks.compression.networks import NETWORKS, resnet18
from tests.benchmarks.compression.setting import SHAPE

SHARES = (0.75, 0.5, 0.25)
LARGE: dict[str, tuple[Shape, Callable[[Shape, int], nn.Module]]] = {
    "resnet18-whole": (SHAPE, partial(resnet18, width=64, pool=False)),
    "mobilenetv3-128": ((3, 128, 128), partial(mobilenet_v3, width=1.0, short=False, stem_stride=2)),
}
"""Networks large enough for int8, by name: shape of an image and ``make``."""
HEAD = "| network | file | MACs | as floats | speed-up / MAC reduction | as int8 |\n|---|---|---|---|---|---|"


def looked(name: str, shares: Sequence[float]) -> Scan:
    """The look ahead on a network with its first values."""
    shape, make = LARGE[name] if name in LARGE else (SHAPE, NETWORKS[name])
    torch.manual_seed(0)
    network, example = make(shape, 10).eval(), torch.randn(2, *shape)
    context = context_without_training(example, shape)
    with tempfile.TemporaryDirectory() as folder:
        start = Candidate(network=network, file=context.file(Path(folder), "given"))
        context.export(network, start.file)
        return scan(start, context, Looking(shares=shares, folder=Path(folder), say=print))


def rows(name: str, found: Scan) -> list[str]:
    """A row for each share, and one for all blocks left out."""
    first, told = found.original, []
    for share in dict.fromkeys(one.share for one in found.files):
        files = {one.precision: one for one in found.files if one.share == share}
        one = files[first.precision]
        faster, fewer = first.latency_ms / one.latency_ms, first.macs / one.macs
        int8 = f"{first.latency_ms / files['int8'].latency_ms:.2f}x" if "int8" in files else ""
        cells = (
            (name, "as it is", f"{first.macs / 1e6:.1f} M", f"{first.latency_ms:.3f} ms", "", int8)
            if share == 1
            else (
                "",
                f"{share:.0%} of the channels",
                f"{fewer:.2f}x fewer",
                f"{faster:.2f}x",
                f"{faster / fewer:.2f}",
                int8,
            )
        )
        told.append(f"| {' | '.join(cells)} |")
    if found.blocks is not None:
        faster, fewer = 1 / (1 - found.blocks.latency), 1 / (1 - found.blocks.macs)
        told.append(
            f"| | without all {found.blocks.count} blocks that can go | {fewer:.2f}x fewer | {faster:.2f}x | "
            f"{faster / fewer:.2f} | |"
        )
    return told


def main() -> None:
    """Prints the rows of each network."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compression.look", description=__doc__)
    parser.add_argument("networks", nargs="*", help="Names of networks; all where none is given")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="Shares to keep")
    asked = parser.parse_args()
    known = (*NETWORKS, *LARGE)
    if strange := [name for name in asked.networks if name not in known]:
        parser.error(f"no network {', '.join(strange)}; there are {', '.join(known)}")
    warnings.filterwarnings("ignore")
    print(HEAD)
    with computing_with(1):
        for name in asked.networks or known:
            print(*rows(name, looked(name, asked.shares)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
