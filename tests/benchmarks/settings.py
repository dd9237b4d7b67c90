"""The setting of a folder of results: all that lie there were made with it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from results.files import write_json
from results.records import Record, read_record


def keep(setting: Record, folder: Path) -> None:
    """Writes the setting of a folder, or checks that it is the one of what is there.

    Raises:
        ValueError: the folder has results of another setting.
    """
    file = folder / "setting.json"
    if not file.exists():
        write_json(file, setting.to_json())
        return
    before = read_record(type(setting), file)
    other = [
        f"{one.name} {getattr(before, one.name)}"
        for one in fields(setting)
        if getattr(before, one.name) != getattr(setting, one.name)
    ]
    if other:
        raise ValueError(f"{folder} has results for {', '.join(other)}; take another --out for these")
