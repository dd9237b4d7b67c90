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
PrintedFile = Annotated[
    Path | None,
    typer.Option(
        help="Output of benchncnn, LiteRT's benchmark_model or ExecuTorch's executor_runner for a kit."
    ),
]
Machine = Annotated[str, typer.Option(help="Name of the device that it was printed on.")]
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
def import_table(
    source: Annotated[Path, typer.Argument(metavar="KIT_OR_CSV")],
    run: RunFolder,
    printed: PrintedFile = None,
    machine: Machine = "",
) -> None:
    """Take a table measured elsewhere (a kit's folder, or CSV) into a run, in place of measuring here.

    \b
    Examples:
        quarry table import kit --run runs/digits    (or: quarry measure import kit --out runs/digits)
        quarry table import kit --printed benchncnn.txt --machine "Pixel 8" --run runs/digits
    """
    from runners.run.sequence import take_table

    _take_printed(source, printed, machine)
    take_table(run, source)


def _take_printed(kit: Path, printed: Path | None, machine: str) -> None:
    if printed is None:
        if machine:
            raise ValueError("--machine belongs to --printed: other tables say where they were measured")
        return
    from runners.tables.printed import take_printed

    found = take_printed(kit, printed, machine)
    typer.echo(f"{len(found.timings)} latencies of {found.runtime} on {machine}")


@tables.command()
def transfer(
    known: Annotated[
        list[Path], typer.Argument(metavar="TABLE...", help="Tables of known devices, .parquet.")
    ],
    run: RunFolder,
    measured: Annotated[
        Path, typer.Option("--measured", metavar="KIT_OR_TABLE", help="Networks measured on the new device.")
    ],
    printed: PrintedFile = None,
    machine: Machine = "",
) -> None:
    """Make the table of a new device from some ten networks measured there, and take it into a run.

    \b
    Example:
        quarry measure --out runs/new --kit kit --networks 10    (then python kit/measure.py on the device)
        quarry table transfer runs/*/measure/table.parquet --measured kit --run runs/new
    """
    from runners.run.sequence import take_transferred

    _take_printed(measured, printed, machine)
    take_transferred(run, known, measured)


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
