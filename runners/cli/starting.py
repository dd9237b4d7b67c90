"""The commands that someone begins with: which recipes and presets there are, and a recipe for own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Makes the commands known."""
    for command in (recipes, presets, init):
        app.command()(command)


def recipes() -> None:
    """List the recipes that come with Quarry, to run or to copy from.

    \b
    Example:
        quarry run digits
    """
    from runners.console import Console
    from runners.recipe.schema import Recipe
    from runners.recipe.shipped import recipe_names, shipped, summary

    rows = []
    for name in recipe_names():
        recipe = Recipe.model_validate(shipped(name))
        limit = recipe.search
        wanted = f"{limit.latency_ms:g} ms" if limit.speedup is None else f"{limit.speedup:g} times faster"
        rows.append((name, summary(name), recipe.space.preset, wanted))
    console = Console()
    console.table("Recipes", ("name", "what it does", "space", "limit"), rows, words=True)
    console.say("Run one: quarry run NAME. One for data of your own: quarry init DATA")


def presets(
    images: Annotated[
        int, typer.Option("--images", min=1, help="Training images, for what an epoch costs.")
    ] = 50_000,
) -> None:
    """List the built-in search spaces: the images they are for, their size, what an epoch costs.

    \b
    Example:
        quarry presets --images 2000
    """
    from results.numbers import count
    from runners.console import Console
    from search_spaces.spaces.preset_sizes import SIZES

    console = Console()
    rows = [
        (
            name,
            f"{size.height}x{size.width}",
            f"{size.networks:,.0f}" if size.networks < 1e6 else f"{size.networks:.1e}",
            count(size.macs),
            count(size.epoch_macs(images)),
        )
        for name, size in SIZES.items()
    ]
    console.table("Presets: space.preset", ("name", "images", "networks", "MACs", "an epoch"), rows)
    console.say(
        "MACs are the multiply-accumulates of the largest network for one image; an epoch is that network's "
        f"training on {images:,} images once, forward and backward. M are millions, G thousands of these, "
        "then T and P."
    )


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A folder (train/CLASS/*.jpg), a parquet file or folder, or digits."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write [default: NAME.toml].")] = None,
) -> None:
    """Look at a data set and write a recipe for it, with sensible values and comments, to edit and run.

    \b
    Example:
        quarry init photos
        quarry run photos.toml
    """
    import shlex

    from results.files import write_atomic
    from runners.console import Console
    from runners.data.look import look_at
    from runners.reading.draft import draft, in_words, name_of, warnings
    from runners.reading.load import load_recipe

    name = name_of(data)
    file = out or Path(f"{name}.toml")
    if file.suffix != ".toml":
        raise ValueError(f"--out {file}: the name of a recipe ends in .toml")
    if file.exists():
        raise ValueError(f"{file} is there already; choose another file with --out, or delete it")
    if not file.parent.is_dir():
        raise ValueError(f"--out {file}: there is no folder {file.parent}")
    look = look_at(data)
    source = data if data == "digits" else str(Path(data).expanduser().resolve())
    write_atomic(file, draft(name, source, look))
    load_recipe(str(file))
    console = Console()
    console.say(f"{data}: {in_words(look)}")
    for words in warnings(look):
        console.warn(words)
    console.say(f"wrote {file}; look through it, then: quarry run {shlex.quote(str(file))}")
