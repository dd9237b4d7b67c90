"""``quarry predict`` and ``quarry verify``: what a run handed over, used and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunOrArtifact = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or one of its artifacts/.")
]
Named = Annotated[
    str, typer.Option("--network", metavar="NAME", help="Network of the run [default: the best].")
]


def predict(
    run: RunOrArtifact,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of images.")
    ],
    network: Named = "",
    top: Annotated[int, typer.Option(help="Classes or labels to name.")] = 5,
) -> None:
    """Classify images with a network that a run handed over.

    \b
    Examples:
        quarry predict runs/digits seven.png
        quarry predict runs/digits/artifacts/digits-3 photos --top 1
    """
    from runners.artifacts.predict import predict as classify

    classify(run, images, network=network, top=top)


def verify(run: RunOrArtifact, network: Named = "") -> None:
    """Check a network that was handed over: its files, its accuracy on the test images, its latency.

    \b
    Examples:
        quarry verify runs/digits
        quarry verify somewhere/digits-3    (its files alone, where the run is not there)
    """
    from runners.run.verifying import verify as check

    check(run, network=network)
