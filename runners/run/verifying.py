"""``quarry verify``: an artifact's files; where its run is there, the network on its data and device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from results.artifacts.loaded import find
from results.files import read_json
from runners.artifacts.verify import check_files, check_network
from runners.run.sequence import opened


def verify(path: Path, *, network: str = "", say: Callable[[str], None] = print) -> None:
    """Checks sums; then accuracy, parity and latency, if the artifact lies in its run.

    Args:
        path: a run's folder, or one of its artifacts'.
        network: name of a network of the run; empty takes the best.
        say: takes each line.

    Raises:
        FileNotFoundError: no such folder, or no artifact in it.
        ValueError: something is not as the card says.
    """
    folder, card = find(path, network)
    say(f"{card.name}, {folder / card.file}")
    check_files(folder, say)
    run = folder.resolve().parent.parent
    if not (run / "recipe.json").is_file():
        say("its run is not here, so nothing was run on test images and nothing was measured")
        return
    if "model" in read_json(run / "recipe.json"):  # what a job of quarry compress-model writes down
        say("quarry compress-model made it, whose data and device are not opened here: no more was checked")
        return
    with opened(run, None) as job:
        check_network(folder, card, job.data, job.target, say)
