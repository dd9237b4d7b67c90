"""The clock for devices that have nothing of ours: ``stopwatch.py`` as a script, and what it imports."""

from __future__ import annotations

import shutil
from pathlib import Path

import results
from results import timing
from runners.measuring import stopwatch


def carry_stopwatch(folder: Path, name: str) -> Path:
    """Copies the stopwatch into a folder under a name, with ``results/timing.py`` beside it.

    The package goes along whole, so that the script's own copy is found whatever else a device has installed.
    """
    (folder / "results").mkdir(exist_ok=True)
    for module in (results, timing):
        source = Path(str(module.__file__))
        shutil.copyfile(source, folder / "results" / source.name)
    script = folder / name
    shutil.copyfile(str(stopwatch.__file__), script)
    return script
