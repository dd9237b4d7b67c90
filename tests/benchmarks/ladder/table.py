"""The table of ``ladder``: what the finished lines say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from results.statistics import kendall


def table(lines: Sequence[dict[str, Any]], labels: Sequence[str]) -> str:
    """A Markdown table, a row for each rung; means over seeds.

    Args:
        lines: lines of ``lines.jsonl``.
        labels: rungs in the order of the rows.
    """
    alone = {line["network"]: line["accuracy"] for line in lines if "network" in line}
    known = sorted(alone)
    found = [
        "| rung | seeds | epochs | compute | processor s | smallest | middle | largest "
        "| inherited less alone | tau |",
        "|" + "---|" * 10,
    ]
    if known:
        ends = " | ".join(f"{alone[at]:.1%}" if at in alone else "" for at in (0, 6, 11))
        found.append(f"| alone |  |  |  |  | {ends} |  |  |")
    for label in labels:
        runs = [line for line in lines if line.get("rung") == label]
        if not runs:
            continue
        scores = np.array([line["accuracies"] for line in runs])
        truth = np.array([alone[network] for network in known])
        gap = f"{100 * (scores[:, known] - truth).mean():+.1f}" if known else ""
        tau = f"{np.mean([kendall(one[known], truth) for one in scores]):.2f}" if len(known) > 3 else ""
        means = scores.mean(axis=0)
        cells = [
            label,
            str(len(runs)),
            str(runs[0]["epochs"]),
            f"{runs[0]['compute']:.2f}",
            f"{np.mean([line['training_s'] for line in runs]):.0f}",
            *(f"{means[at]:.1%}" for at in (0, len(means) // 2, -1)),
            gap,
            tau,
        ]
        found.append("| " + " | ".join(cells) + " |")
    return "\n".join(found)
