"""``quarry why``: two models beside each other."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or module:function.")]


def why(
    before: Model,
    after: Model,
    profile: Annotated[
        str, typer.Option("--profile", help="A profile of ONNX Runtime here, by name or path.")
    ] = "cpu-ort",
    input_shape: Annotated[
        str,
        typer.Option("--input", help="Input shape such as 3x224x224, for module:function and open files."),
    ] = "",
    channel_step: Annotated[
        int, typer.Option(help="Step of channel counts, as quarry table staircase finds it.")
    ] = 16,
    rows: Annotated[int, typer.Option(help="Operators to list.")] = 16,
    seconds: Annotated[float, typer.Option(help="Seconds to measure for.")] = 3.0,
) -> None:
    """Say why a model is not faster than another: operator by operator, and what would help.

    \b
    Example:
        quarry why float.onnx int8.onnx
    """
    from runners.tables.commands import shape_of
    from runners.tables.why import why as explain

    explain(
        before,
        after,
        profile=profile,
        input_shape=shape_of(input_shape),
        channel_step=channel_step,
        rows=rows,
        seconds=seconds,
    )
