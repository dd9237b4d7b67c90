"""``quarry table transfer``: a table for a device on which few networks were measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nas.costs.layers.sums import layers_of
from nas.costs.model.transferred import transferred_table
from nas.costs.table.exchange import import_csv
from nas.costs.table.table import LatencyTable, load_table
from runners.tables.kit import read_kit
from search_spaces.space import SearchSpace


def transfer_table(
    known: Sequence[Path],
    measured: Path,
    target: Path,
    *,
    space: SearchSpace,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> LatencyTable:
    """Writes the table of a new device, and says how far off it is.

    Args:
        known: tables of known devices, ``.parquet``.
        measured: networks measured on the new one: a kit's folder, CSV or ``.parquet``.
        target: table to write.
        space: space of all of them.
        seed: seed of what is drawn.
        say: takes each line.

    Raises:
        FileNotFoundError: a table, kit or CSV file that is not there.
        ValueError: tables that do not go together, or too few networks.
    """
    if not measured.exists():
        raise FileNotFoundError(f"there is neither a kit nor a table at {measured}")
    few = _read(measured)
    tables = [load_table(path) for path in known]
    found = transferred_table(space, layers_of(space), tables, few, seed=seed)
    found.measured.table.save(target)
    header = few.header
    shares = ", ".join(
        f"{weight:.2f} of {table.header.profile} ({table.header.precision})"
        for weight, table in zip(found.mixture.weights, tables, strict=True)
    )
    say(f"{header.profile} on {header.machine} is taken for {shares}, and {found.mixture.offset_ms:+.4f} ms")
    say(
        f"each of the {len(found.left_out)} networks it was fitted on is predicted to "
        f"{np.mean(found.left_out):.1%} on average without itself, {max(found.left_out):.1%} at worst"
    )
    say(f"on others: {found.measured.check.summary()}")
    return found.measured.table


def _read(path: Path) -> LatencyTable:
    if path.is_dir():
        return read_kit(path)
    return load_table(path) if path.suffix == ".parquet" else import_csv(path)
