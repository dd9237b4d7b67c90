"""How far off the time is that a run foretells before its first stage.

    python -m tests.benchmarks.forecasts                      # the digits, in a new folder; five minutes
    python -m tests.benchmarks.forecasts RECIPE --set K=V     # any recipe
    python -m tests.benchmarks.forecasts --run runs/digits    # a run that is there

Prints each stage with what was foretold, what it took in all sessions, and the ratio. Leave the machine
alone meanwhile: a forecast is of the machine as it was when it was made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from results.records import StageTimes, read_record


def ratios(foretold: Mapping[str, float], took: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """Each stage that was foretold and done, with both times in seconds; then all of them together."""
    both = [(name, seconds, took[name]) for name, seconds in foretold.items() if name in took]
    yield from both
    yield "together", sum(said for _, said, _ in both), sum(came for _, _, came in both)


def main() -> None:
    """Prints the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="digits", help="recipe, by name or path")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the recipe"
    )
    parser.add_argument("--run", type=Path, help="folder of a run that is there")
    options = parser.parse_args()
    folder = options.run
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="quarry-forecast-")) / "run"
        settings = [word for one in options.set for word in ("--set", one)]
        command = [sys.executable, "-c", "from runners.cli.app import main; main()", "run", options.recipe]
        subprocess.run([*command, "--out", str(folder), *settings], check=True)
    foretold = read_record(StageTimes, folder / "forecast.json").seconds
    took = read_record(StageTimes, folder / "stages.json").seconds
    print("| stage | foretold | took | ratio |\n|---|---|---|---|")
    for name, said, came in ratios(foretold, took):
        print(f"| {name} | {said:.0f} s | {came:.0f} s | {said / came:.2f} |")


if __name__ == "__main__":
    main()
