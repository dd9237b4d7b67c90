"""The latency table of a target: Parquet lines under a header that says what they are and hold for.

A line is a probe: a layer alone, a chain of copies of it, or a whole network. Units stand in the
column names and in the header; a file without them is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results.files import replace_atomic

COLUMNS = (
    "kind",  # layer, chain or network
    "key",  # the layer's key; "8 x " and the key for a chain of copies; value indices of a network's arch
    "input",  # its input shape without the batch, "16x8x8"
    "occasion",  # 0 for the first time this was measured, 1 for the second
    "median_ms",
    "low_ms",
    "high_ms",
    "repeats",
    "status",  # measured, unsupported or failed
    "reason",
)
KINDS = ("layer", "chain", "network")
STATUSES = ("measured", "unsupported", "failed")
VERSION = "2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableHeader:
    """What the lines of a table are and under which circumstances they hold.

    Attributes:
        profile: name of the hardware profile.
        runtime: library that ran the layers.
        runtime_version: version of the runtime.
        threads: it used.
        batch: images at once.
        precision: ``fp32`` or ``int8``.
        machine: processor, cores, architecture, system.
        space: name of the search space.
        space_fingerprint: fingerprint of its choices and layers.
        date: beginning of the building, ISO 8601.
        unit: unit of the time columns; only ``ms`` is taken.
    """

    profile: str
    runtime: str
    runtime_version: str
    threads: int
    batch: int
    precision: str
    machine: str
    space: str
    space_fingerprint: str
    date: str
    unit: str = "ms"

    def differences(self, other: TableHeader, *, but: Sequence[str] = ("date",)) -> list[str]:
        """Every field in which the two differ, in words."""
        return [
            f"{field.name} {getattr(self, field.name)!r} against {getattr(other, field.name)!r}"
            for field in fields(self)
            if field.name not in but and getattr(self, field.name) != getattr(other, field.name)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Lines with ``COLUMNS`` under their header.

    Raises:
        ValueError: missing columns, unknown kinds or statuses, a unit other than ms, times that are not
            positive and ordered, or two lines for the same probe.
    """

    header: TableHeader
    lines: pd.DataFrame

    def __post_init__(self) -> None:
        if self.header.unit != "ms":
            raise ValueError(
                f"the table of profile {self.header.profile!r} is in {self.header.unit!r}; tables are in ms, "
                "convert it first"
            )
        missing = [name for name in COLUMNS if name not in self.lines.columns]
        if missing:
            raise ValueError(
                f"the table lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}"
            )
        for column, valid in (("kind", KINDS), ("status", STATUSES)):
            wrong = sorted({str(v) for v in self.lines[column]} - set(valid))
            if wrong:
                raise ValueError(f"the table has {column} {', '.join(wrong)}; valid: {', '.join(valid)}")
        measured = self.lines[self.lines.status == "measured"]
        ordered = (measured.low_ms <= measured.median_ms) & (measured.median_ms <= measured.high_ms)
        bad = measured[~(ordered & (measured.low_ms > 0) & measured.high_ms.map(math.isfinite))]
        if len(bad):
            raise ValueError(
                f"{len(bad)} measured lines lack 0 < low_ms <= median_ms <= high_ms, the first is "
                f"{bad.key.iloc[0]!r}"
            )
        twice = self.lines[self.lines.duplicated(["kind", "key", "occasion"])]
        if len(twice):
            raise ValueError(f"the table holds {twice.key.iloc[0]!r} twice; merge tables with merge_tables")

    def of(self, kind: str, occasion: int = 0) -> pd.DataFrame:
        """The lines of one kind and occasion, by key."""
        chosen = self.lines[(self.lines.kind == kind) & (self.lines.occasion == occasion)]
        return chosen.set_index("key")

    def save(self, path: Path) -> None:
        """Writes Parquet, atomically."""
        table = pa.Table.from_pandas(self.lines[list(COLUMNS)].reset_index(drop=True), preserve_index=False)
        metadata = {"quarry.version": VERSION, "quarry.header": json.dumps(asdict(self.header))}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
        replace_atomic(path, lambda temporary: pq.write_table(table, temporary))


def load_table(path: Path) -> LatencyTable:
    """Reads a table.

    Raises:
        FileNotFoundError: there is none at ``path``.
        ValueError: not Parquet, no header (so no units), another format, or lines that are refused.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no latency table at {path}; build one with: quarry measure")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not readable as Parquet ({error}); build the table again") from error
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if "quarry.header" not in metadata:
        raise ValueError(
            f"{path} has no header, so its units are unknown; a table is made by quarry measure, or from "
            "CSV by quarry table import"
        )
    version = metadata.get("quarry.version")
    if version not in ("1", VERSION):
        raise ValueError(f"{path} has table format {version!r}; this Quarry reads '1' and {VERSION!r}")
    try:
        return LatencyTable(
            header=read_header(json.loads(metadata["quarry.header"])), lines=with_chains(table.to_pandas())
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def with_chains(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines of format 1 as those of format 2: a chain of copies was called a row there."""
    return lines.assign(kind=lines.kind.replace("row", "chain")) if "kind" in lines else lines


def read_header(entries: dict[str, object]) -> TableHeader:
    """A header from its JSON.

    Raises:
        ValueError: a field is missing or unknown.
    """
    wanted = {field.name for field in fields(TableHeader)}
    missing, extra = sorted(wanted - set(entries)), sorted(set(entries) - wanted)
    if missing or extra:
        raise ValueError(
            f"the header of a table has {', '.join(sorted(wanted))}; missing: "
            f"{', '.join(missing) or 'none'}, unknown: {', '.join(extra) or 'none'}"
        )
    return TableHeader(**entries)  # type: ignore[arg-type]


def merge_tables(tables: Sequence[LatencyTable]) -> LatencyTable:
    """One table of the lines of several, such as parts measured by several machines of one kind.

    Where two measured the same probe, the one with the narrower interval stays; a measured row always
    replaces one that failed.

    Raises:
        ValueError: none given, or headers that differ in more than the date.
    """
    if not tables:
        raise ValueError("there is no table to merge")
    first = tables[0].header
    for other in tables[1:]:
        differences = first.differences(other.header)
        if differences:
            raise ValueError(
                f"tables can only be merged when they hold for the same: {'; '.join(differences)}"
            )
    rows = pd.concat([table.lines for table in tables], ignore_index=True)
    spread = ((rows.high_ms - rows.low_ms) / rows.median_ms).fillna(math.inf)
    best = rows.assign(_spread=spread).sort_values("_spread", kind="stable")
    best = best.drop_duplicates(["kind", "key", "occasion"]).sort_index().drop(columns="_spread")
    header = replace(first, date=min(table.header.date for table in tables))
    return LatencyTable(header=header, lines=best.reset_index(drop=True))
