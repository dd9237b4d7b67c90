"""The table of docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from results.files import read_json


def table(folder: Path) -> tuple[list[str], int]:
    """Lines of a table, one for each job and kind of fault; and how many endings were wrong.

    Args:
        folder: folder with a file of endings for each job and kind, as the command leaves them.
    """
    lines = [
        "| job | fault | tried | same result | refused in words | wrong | time spent again |",
        "|---|---|---|---|---|---|---|",
    ]
    wrong = 0
    for file in sorted(folder.glob("*/*.json")):
        endings = read_json(file)
        count = Counter(one["how"] for one in endings)
        again = [one["repeated"] for one in endings if one["repeated"] is not None]
        told = f"{sum(again) / len(again):.0%} of a job" if again else ""
        lines.append(
            f"| `quarry {file.parent.name}` | {file.stem} | {len(endings)} | {count['same']} "
            f"| {count['refused']} | {count['WRONG']} | {told} |"
        )
        wrong += count["WRONG"]
    return lines, wrong
