"""Quarry's side: ``quarry run`` as a user calls it, and the file that it hands over for a limit."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from results.files import read_lines
from results.records import Card, read_record
from tests.benchmarks.by_hand.cost import Cost, run_costed
from tests.benchmarks.by_hand.setting import Setting, threads

PROGRAM = (sys.executable, "-c", "from runners.cli.app import main; main()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Quarry hands over for a limit.

    Attributes:
        limit_ms: the limit.
        card: card of the file.
        file: the file.
        cost: what it cost: of a run that answers several limits, its share.
        run: folder of the run.
    """

    limit_ms: float
    card: Card
    file: Path
    cost: Cost
    run: Path


def answers(
    setting: Setting, *, seed: int, extra: Sequence[str], cores: Sequence[int], folder: Path
) -> Iterator[Answer]:
    """Quarry's answers for all limits of a setting, which divide its minutes.

    For now a run for each limit, at its share of the minutes. This is the place to change once one run
    answers further limits from the same measurements.

    Args:
        setting: what both sides are given.
        seed: seed of the runs.
        extra: further ``key=value`` for the recipe.
        cores: processors that a run may use.
        folder: folder for the runs; what is there is of a run that was interrupted, and begun again, since
            nobody knows what it had cost.

    Raises:
        CommandError: a run failed.
        ValueError: a run handed over nothing.
    """
    minutes = setting.minutes / len(setting.limits_ms)
    for limit_ms in setting.limits_ms:
        out = folder / f"{limit_ms:g}ms-seed{seed}"
        shutil.rmtree(out, ignore_errors=True)
        cost = run_costed(
            command(setting, limit_ms, minutes, seed, extra, out),
            cores=cores,
            log=folder / f"{out.name}.txt",
            environment=threads(len(cores)),
        )
        card, file = best(out, limit_ms)
        yield Answer(limit_ms=limit_ms, card=card, file=file, cost=cost, run=out)


def command(
    setting: Setting, limit_ms: float, minutes: float, seed: int, extra: Sequence[str], out: Path
) -> list[str]:
    """The call of ``quarry run`` for one limit."""
    keys = [f"data.source={setting.data}", f"search.latency_ms={limit_ms:g}"]
    keys += [f"search.workers={setting.cores}", *extra]
    words = [*PROGRAM, "run", setting.recipe, "--out", str(out), "--minutes", f"{minutes:g}"]
    return [*words, "--seed", str(seed), *(word for key in keys for word in ("--set", key))]


def best(run: Path, limit_ms: float) -> tuple[Card, Path]:
    """The file of a run that a user would take: the most accurate on validation images that meets the limit.

    Where none meets it, the fastest.

    Raises:
        ValueError: the run has no artifact.
    """
    cards = [(read_record(Card, file), file.parent) for file in sorted(run.glob("artifacts/*/card.json"))]
    if not cards:
        raise ValueError(f"{run} holds no artifact")
    met = [pair for pair in cards if pair[0].latency.measured_ms <= limit_ms]
    if met:
        card, folder = max(met, key=lambda pair: pair[0].accuracy.validation)
    else:
        card, folder = min(cards, key=lambda pair: pair[0].latency.measured_ms)
    return card, folder / card.file


def training_macs(run: Path, images: int) -> float | None:
    """Multiply-accumulates of all networks that a run trained alone; None where it trained none.

    A backward pass costs two forward passes. What compression trains after that is not in it.

    Args:
        run: folder of the run.
        images: number of training images.
    """
    trained = [3.0 * line["macs"] * line["epochs"] for line in read_lines(run / "search" / "race.jsonl")]
    return images * sum(trained) if trained else None
