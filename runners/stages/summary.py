"""The last words of a run: what was chosen, how good, how fast, how big, and where the files are."""

from __future__ import annotations

from pathlib import Path

from results.records import Card, best_first, read_record
from runners.console import Console


def print_summary(run: Path, console: Console) -> None:
    """A table of the artifacts, the chosen one first, and the largest network beside them."""
    cards = best_first(read_record(Card, file) for file in (run / "artifacts").glob("*/card.json"))
    rows = [_row(card) for card in cards]
    other = cards[0].reference
    if other is not None:
        rows.append(
            [
                other.name,
                f"{other.exported_test:.2%}",
                "",
                f"{other.latency_ms:.3f}",
                f"{other.size_bytes / 1000:.0f} kB",
                "1.0",
                "",
            ]
        )
    how = cards[0].latency.how
    score = f"test {cards[0].metric}"
    columns = ["network", score, "predicted ms", f"{how} ms", "size", "speed-up", "precision"]
    console.table("Chosen networks, as exported and run", columns, rows)
    best = cards[0]
    limit_ms = best.limit.latency_ms
    assert limit_ms is not None  # as every run has one
    verdict = "meets" if best.latency.measured_ms <= limit_ms else "DOES NOT meet"
    console.say(
        f"{best.name} {verdict} the limit of {limit_ms:.4g} ms on {best.latency.profile} "
        f"({best.latency.measured_ms:.3f} ms {how}, {best.share_of_limit:.0%} of it)."
    )
    if best.weights is not None:
        console.say(f"{best.name}, {best.weights.sentence()}.")
    for words in best.limit.broken:
        console.say(f"{best.name} DOES NOT fit the device: {words}")
    console.say(f"files:  {run / 'artifacts' / best.name / best.file}")
    console.say(f"report: {run / 'report.html'}")


def _row(card: Card) -> list[str]:
    return [
        card.name,
        f"{card.accuracy.exported_test:.2%}",
        "" if card.latency.predicted_ms is None else f"{card.latency.predicted_ms:.3f}",
        f"{card.latency.measured_ms:.3f}",
        f"{card.size_bytes / 1000:.0f} kB",
        "" if card.reference is None else f"{card.reference.speedup:.1f}",
        card.precision,
    ]
