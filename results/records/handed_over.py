"""Whether what a run handed over is still there, whole."""

from __future__ import annotations

from pathlib import Path

from results.files import read_json
from results.records.card import Card
from results.records.checksums import CHECKSUMS, summed
from results.records.reading import read_record

ARTIFACTS = "artifacts"
NAMED = "networks.json"
"""Names of the networks that were handed over, in ``artifacts/``."""
MISTAKES = "-mistakes.json"
"""End of the name, after the network's, of what its file gets wrong; in ``artifacts/`` and not in the folder
of the network, which is given away: it holds pictures of the test data."""


def missing(artifacts: Path) -> list[Path]:
    """Files that were handed over and are gone, damaged, or of another size than their card says.

    Args:
        artifacts: folder of a run whose export was done; one from before there were names has none missing.
    """
    if not (artifacts / NAMED).exists():
        return []
    try:
        names = [str(name) for name in read_json(artifacts / NAMED)]
    except ValueError:
        return [artifacts / NAMED]
    lost = []
    for folder in (artifacts / name for name in names):
        lost += [file for file in (folder / "card.json", folder / "README.md") if not file.exists()]
        try:
            card = read_record(Card, folder / "card.json")
        except FileNotFoundError:
            continue
        except ValueError:
            lost.append(folder / "card.json")
            continue
        model = folder / card.file
        if not model.exists() or model.stat().st_size != card.size_bytes:
            lost.append(model)
        lost += _lost_beside(folder, {"card.json", "README.md", card.file})
    return lost


def _lost_beside(folder: Path, looked_at: set[str]) -> list[Path]:
    """The other files that the sums name and that are gone; the sums themselves where they are damaged."""
    try:
        named = summed(folder)
    except ValueError:
        return [folder / CHECKSUMS]
    return [folder / name for name in named if name not in looked_at and not (folder / name).exists()]
