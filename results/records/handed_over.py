"""Whether what a run handed over is still there, whole."""

from __future__ import annotations

from pathlib import Path

from results.files import read_json
from results.records.checksums import CHECKSUMS, damaged

ARTIFACTS = "artifacts"
NAMED = "networks.json"
"""Names of the networks that were handed over, in ``artifacts/``."""
MISTAKES = "-mistakes.json"
"""End of the name, after the network's, of what its file gets wrong; in ``artifacts/`` and not in the folder
of the network, which is given away: it holds pictures of the test data."""


def missing(artifacts: Path) -> list[Path]:
    """Files that were handed over and are gone, or not what was written.

    Args:
        artifacts: folder of a run whose export was done.
    """
    try:
        names = [str(name) for name in read_json(artifacts / NAMED)]
    except (ValueError, FileNotFoundError):
        return [artifacts / NAMED]
    lost: list[Path] = []
    for folder in (artifacts / name for name in names):
        try:
            lost += damaged(folder)
        except ValueError:
            lost.append(folder / CHECKSUMS)
    return lost
