"""Tables as CSV, for other tools and from other devices: the header as comments, then the lines."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from nas.costs.table.table import COLUMNS, LatencyTable, read_header, with_chains
from results.files import write_atomic

MARK = "# quarry "


def export_csv(table: LatencyTable, path: Path) -> None:
    """Writes a table as CSV; its first lines are ``# quarry FIELD: VALUE``, the fields of the header."""
    lines = [f"{MARK}{name}: {json.dumps(value)}\n" for name, value in asdict(table.header).items()]
    write_atomic(path, "".join(lines) + table.lines[list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def import_csv(path: Path) -> LatencyTable:
    """Reads what ``export_csv`` or a kit wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a header field is missing (so units or device are unknown), or the lines make no sense.
    """
    text = path.read_text()
    entries: dict[str, object] = {}
    for line in text.splitlines():
        if line.startswith(MARK):
            name, _, value = line.removeprefix(MARK).partition(": ")
            try:
                entries[name] = json.loads(value)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: header line {line!r} is not {MARK}FIELD: JSON") from error
    if not entries:
        raise ValueError(
            f"{path} has no header, so its units and device are unknown; its first lines must be like "
            f'"{MARK}unit: \\"ms\\"", one for each field of a table\'s header'
        )
    try:
        rows = pd.read_csv(io.StringIO(text), comment="#", keep_default_na=True, dtype={"reason": str})
        times = ["median_ms", "low_ms", "high_ms"]
        if set(times) <= set(rows.columns):
            rows = rows.assign(**{name: rows[name].astype(float) for name in times})
        if "reason" in rows:
            rows = rows.assign(reason=rows.reason.fillna(""))
        return LatencyTable(header=read_header(entries), lines=with_chains(rows))
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: {error}") from error
