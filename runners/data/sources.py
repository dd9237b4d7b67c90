"""Data sources by name: ``f(view, *, settings) -> Raw``. A recipe's ``parts`` may add others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from results.registry import Registry
from runners.data.arrays import read_npz
from runners.data.digits import read_digits
from runners.data.folder import is_image_folder, read_folder
from runners.data.hub import read_hub
from runners.data.listed import read_csv
from runners.data.raw import Raw
from runners.data.tables import read_parquet
from runners.recipe.part import Part, part
from runners.recipe.paths import found

SOURCES: Registry[Callable[..., Raw]] = Registry("data source")
SOURCES.add("digits", read_digits)
SOURCES.add("folder", read_folder)
SOURCES.add("parquet", read_parquet)
SOURCES.add("csv", read_csv)
SOURCES.add("npz", read_npz)
SOURCES.add("hub", read_hub)


def located(source: Part, folder: Path) -> Part:
    """The source with its paths absolute where they lead to something from a folder.

    Args:
        source: data source, as the recipe names it.
        folder: folder that relative paths begin at.
    """
    if source.kind not in SOURCES:
        return part(found(source.kind, folder), **source.settings)
    paths = {name for name, one in SOURCES[source.kind].settings.items() if one.annotation is Path}
    settings = {k: found(str(v), folder) if k in paths else v for k, v in source.settings.items()}
    return part(source.kind, **settings)


def resolved(source: Part) -> Part:
    """The registered source that a recipe means: by its name, or by where the data are.

    A path means a folder of images, a CSV or npz file, or parquet files, any other word a data set of the
    hub; settings go along.

    Raises:
        ValueError: a path at which there is nothing.
    """
    kind = source.kind
    if kind in SOURCES:
        return source
    path = Path(kind).expanduser()
    if path.exists():
        by_end = {".csv": "csv", ".npz": "npz"}.get(path.suffix.lower()) if path.is_file() else ""
        kind = by_end or ("folder" if is_image_folder(path) else "parquet")
        return part(kind, **{"path": str(path)} | source.settings)
    if path.is_absolute() or kind.startswith((".", "~")) or kind.endswith((".parquet", ".csv", ".npz")):
        raise ValueError(f"data.source {kind} does not exist")
    return part("hub", **{"name": kind} | source.settings)
