"""``quarry table``: latency tables as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

tables = typer.Typer(
    help="Look at latency tables, move them between machines, and see whether they still hold.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Table = Annotated[Path, typer.Argument(metavar="TABLE", help="A table, .parquet.")]
RunFolder = Annotated[Path, typer.Option("--run", help="The run whose space the table is of.")]
Hardware = Annotated[str, typer.Option("--profile", help="A hardware profile, by name or path.")]


@tables.command()
def show(table: Table, limit: Annotated[int, typer.Option(help="Layers to list.")] = 20) -> None:
    """Say what a table holds for, and list its slowest layers.

    \b
    Example:
        quarry table show runs/digits/measure/table.parquet
    """
    from runners.tables import commands

    commands.show(table, limit=limit)


@tables.command("export")
def export_table(table: Table, target: Annotated[Path, typer.Argument(metavar="CSV")]) -> None:
    """Write a table as CSV, units and circumstances included."""
    from runners.tables import commands

    commands.export_table(table, target)


@tables.command("import")
def import_table(source: Annotated[Path, typer.Argument(metavar="KIT_OR_CSV")], run: RunFolder) -> None:
    """Take a table measured elsewhere (a kit's folder, or CSV) into a run, in place of measuring here.

    \b
    Example:
        quarry table import kit --run runs/digits    (or: quarry measure import kit --out runs/digits)
    """
    from runners.run.sequence import take_table

    take_table(run, source)


@tables.command()
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="TABLE...")],
    out: Annotated[Path, typer.Option("--out", help="The merged table.")],
) -> None:
    """Merge tables of one device and space into one."""
    from runners.tables import commands

    commands.merge(sources, out)


@tables.command()
def check(table: Table, run: RunFolder, profile: Hardware = "cpu-ort") -> None:
    """Measure a sample of a table again, and say whether it still holds on this machine."""
    from runners.run.sequence import opened
    from runners.tables import commands

    with opened(run, None) as job:
        commands.check_table(table, job.given, profile=profile)


@tables.command()
def staircase(profile: Hardware = "cpu-ort") -> None:
    """Find the channel counts that cost no more than the next lower ones on a device."""
    from runners.tables import commands

    commands.staircase(profile=profile)
