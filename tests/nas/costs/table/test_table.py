"""Tables: what is written is read, and what cannot be trusted is refused."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nas.costs.table.table import COLUMNS, LatencyTable, load_table, merge_tables
from tests.nas.costs.synthetic import header, space


def row(key: str, median_ms: float = 1.0, spread: float = 0.1, status: str = "measured") -> dict[str, object]:
    values = (median_ms, median_ms - spread / 2, median_ms + spread / 2)
    if status != "measured":
        values = (float("nan"),) * 3
    return dict(zip(COLUMNS, ("layer", key, "1x8x8", 0, *values, 9, status, ""), strict=True))


def table(*rows: dict[str, object]) -> LatencyTable:
    return LatencyTable(header=header(space()), lines=pd.DataFrame(list(rows)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = table(row("a"), row("b", status="unsupported"))
    written.save(tmp_path / "t.parquet")
    read = load_table(tmp_path / "t.parquet")
    assert read.header == written.header
    pd.testing.assert_frame_equal(read.lines, written.lines)


def test_files_without_units_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    pd.DataFrame([row("a")]).to_parquet(plain)
    with pytest.raises(ValueError, match="no header, so its units are unknown"):
        load_table(plain)
    garbage = tmp_path / "garbage.parquet"
    garbage.write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match="not readable as Parquet"):
        load_table(garbage)
    with pytest.raises(FileNotFoundError, match="quarry measure"):
        load_table(tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="tables are in ms"):
        LatencyTable(header=replace(header(space()), unit="s"), lines=pd.DataFrame([row("a")]))


def test_the_first_format_called_a_chain_of_copies_a_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table(row("8 x a") | {"kind": "chain"}).save(path)
    stored = pq.read_table(path)
    stored = stored.set_column(stored.schema.get_field_index("kind"), "kind", pa.array(["row"]))
    metadata = {**(stored.schema.metadata or {}), b"quarry.version": b"1"}
    pq.write_table(stored.replace_schema_metadata(metadata), path)
    assert load_table(path).of("chain").index.tolist() == ["8 x a"]
    pq.write_table(stored.replace_schema_metadata({**metadata, b"quarry.version": b"3"}), path)
    with pytest.raises(ValueError, match="has table format '3'; this Quarry reads '1' and '2'"):
        load_table(path)


def test_lines_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="low_ms <= median_ms"):
        table(row("a", median_ms=-1.0))
    with pytest.raises(ValueError, match="status almost"):
        table(row("a") | {"status": "almost"})
    with pytest.raises(ValueError, match="twice"):
        table(row("a"), row("a"))
    with pytest.raises(ValueError, match="lacks the columns key"):
        LatencyTable(header=header(space()), lines=pd.DataFrame([row("a")]).drop(columns="key"))


def test_merging_keeps_the_better_of_two_and_refuses_other_devices() -> None:
    first = table(row("a", 1.0, spread=0.5), row("b", status="failed"))
    second = table(row("a", 2.0, spread=0.1), row("b", 3.0), row("c"))
    merged = merge_tables([first, second]).of("layer")
    assert merged.median_ms.to_dict() == {"a": 2.0, "b": 3.0, "c": 1.0}
    other = replace(second, header=replace(second.header, threads=2))
    with pytest.raises(ValueError, match="threads 1 against 2"):
        merge_tables([first, other])
