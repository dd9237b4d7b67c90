"""The commands that look at runs without working on them: several beside each other, one at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Makes the commands known."""
    app.command()(compare)
    app.command()(watch)
    app.command()(studies)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of two runs or more.")],
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("compare.html"),
) -> None:
    """Compare runs: what they found, what they cost, and the settings that differ.

    \b
    Example:
        quarry compare runs/digits runs/other --out compare.html
    """
    from results.report.compare import (
        COSTS,
        RESULTS,
        costs_of,
        differences,
        doubts,
        read_runs,
        results_of,
        write_comparison,
    )
    from runners.console import Console

    found = read_runs(runs)
    console = Console()
    console.table("Result", RESULTS, [results_of(run) for run in found])
    console.table("Cost", COSTS, [costs_of(run) for run in found])
    if rows := differences(found):
        console.table("Settings that differ", ["setting", *(run.name for run in found)], rows, words=True)
    for words in doubts(found):
        console.warn(words)
    console.say(f"wrote {write_comparison(found, out)}")


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look, and no more.")] = False,
) -> None:
    """Watch a run at work, from another terminal: its stages, what it says, how far the training is.

    It ends when the run is finished. Ctrl-C ends the watching, not the run.

    \b
    Example:
        quarry watch runs/digits
    """
    from runners.cli.watching import watch as look

    look(run, every_s=every, once=once)


def studies(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    out: Annotated[Path, typer.Option("--out", help="The database to write.")] = Path("study.db"),
) -> None:
    """Write the trials of a run as Optuna studies, which optuna-dashboard opens.

    \b
    Example:
        quarry studies runs/digits --out study.db
        optuna-dashboard sqlite:///study.db
    """
    from runners.console import Console
    from runners.run.tracking import write_studies

    storage = f"sqlite:///{out}"
    names = write_studies(run, storage)
    Console().say(f"wrote {', '.join(names)}; look at them with: optuna-dashboard {storage}")
