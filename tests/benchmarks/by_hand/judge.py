"""The two sides at work: what each is charged for, and how the files of both are judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from results.files import append_line, read_lines, write_json
from results.names import unknown
from results.records import read_record
from tests.benchmarks.by_hand.candidates import Measured, candidates, measured_members, precisions
from tests.benchmarks.by_hand.cost import Cost, run_costed
from tests.benchmarks.by_hand.families import members
from tests.benchmarks.by_hand.hand import Job, Trained
from tests.benchmarks.by_hand.lines import HAND, Line, Lines
from tests.benchmarks.by_hand.quarry import answers, training_macs
from tests.benchmarks.by_hand.setting import Bench, Setting, threads

_SCREEN_SEED = 0


def by_hand(
    setting: Setting,
    *,
    seeds: Sequence[int],
    screen_epochs: int,
    families: Sequence[str],
    columns: Sequence[str],
    cores: Sequence[int],
    folder: Path,
) -> None:
    """Adds by hand's lines.

    Free of charge: measuring all members, and the screening that picks a family for a limit. Charged: the
    process that trains the one network and exports it, from its start to its end.

    Args:
        setting: what both sides are given.
        seeds: seeds to train with.
        screen_epochs: epochs that each family's candidate gets in the screening.
        families: names of the families to try; none named means all.
        columns: number formats whose columns are made.
        cores: processors to use.
        folder: folder of the results.

    Raises:
        ValueError: no such family; no member of any meets a limit; the budget is less than an epoch.
    """
    bench = Bench(setting, _SCREEN_SEED, folder)
    there = {one.family for one in members(bench.splits.input_shape)}
    for family in families:
        if family not in there:
            raise ValueError(unknown("family", family, sorted(there)))
    known = measured_members(bench, families, max(setting.limits_ms), folder / "members.jsonl")
    known = [one for one in known if not families or one.family in families]
    lines = Lines(folder)
    todo = [
        (limit_ms, precision)
        for limit_ms in setting.limits_ms
        for precision in precisions(bench)
        if precision in columns and not all(lines.done(HAND[precision], [limit_ms], seed) for seed in seeds)
    ]
    chosen = {}
    for limit_ms, precision in todo:
        found = candidates(known, precision, limit_ms)
        if not found:
            fastest = min((one.latency_ms for one in known if one.precision == precision), default=0.0)
            raise ValueError(f"no network by hand meets {limit_ms:g} ms; the fastest takes {fastest:.3f} ms")
        chosen[limit_ms, precision] = _screened(setting, found, screen_epochs, cores, folder)
    for seed in seeds:
        for (limit_ms, precision), member in chosen.items():
            if lines.done(HAND[precision], [limit_ms], seed):
                continue
            print(f"{HAND[precision]}: {member.name} for {limit_ms:g} ms, seed {seed}", flush=True)
            trained, cost = _train(
                setting, member, seed, setting.budget_s, 0, cores, folder, f"{limit_ms:g}ms-seed{seed}"
            )
            lines.add(
                _judged(
                    Bench(setting, seed, folder),
                    side=HAND[precision],
                    limit_ms=limit_ms,
                    network=member.name,
                    file=Path(trained.file),
                    cost=cost,
                    training_macs=trained.training_macs,
                    epochs=trained.epochs,
                )
            )


def _screened(
    setting: Setting, found: Sequence[Measured], epochs: int, cores: Sequence[int], folder: Path
) -> Measured:
    """The candidate whose file does best on validation images after a few epochs; nothing is charged."""
    if len(found) == 1:
        return found[0]
    log = folder / "screening.jsonl"
    scores: dict[str, float] = {}
    for one in found:
        key = [one.name, one.precision, epochs]
        done = {tuple(line["key"]): line["validation"] for line in read_lines(log)}
        if tuple(key) not in done:
            trained, _ = _train(setting, one, _SCREEN_SEED, None, epochs, cores, folder, f"screen{epochs}")
            append_line(log, {"key": key, "validation": trained.validation})
            done[tuple(key)] = trained.validation
        scores[one.name] = done[tuple(key)]
        print(
            f"screening: {one.name} {one.precision}, {one.latency_ms:.3f} ms: {scores[one.name]:.1%}",
            flush=True,
        )
    return max(found, key=lambda one: scores[one.name])


def _train(
    setting: Setting,
    member: Measured,
    seed: int,
    budget_s: float | None,
    epochs: int,
    cores: Sequence[int],
    folder: Path,
    name: str,
) -> tuple[Trained, Cost]:
    """Trains in a process of its own; what it costs is that process, whole."""
    stem = folder / "hand" / f"{member.name}-{member.precision}-{name}"
    job, result = stem.with_name(f"{stem.name}.job.json"), stem.with_name(f"{stem.name}.result.json")
    wanted = Job(
        setting=setting,
        folder=str(folder),
        member=member,
        seed=seed,
        budget_s=budget_s,
        epochs=epochs,
        stem=str(stem),
    )
    write_json(job, wanted.to_json())
    cost = run_costed(
        [sys.executable, "-m", "tests.benchmarks.by_hand.hand", str(job), str(result)],
        cores=cores,
        log=stem.with_name(f"{stem.name}.txt"),
        environment=threads(len(cores)),
    )
    return read_record(Trained, result), cost


def by_quarry(
    setting: Setting,
    *,
    seeds: Sequence[int],
    extra: Sequence[str],
    label: str,
    cores: Sequence[int],
    folder: Path,
) -> None:
    """Adds Quarry's lines; everything that its runs do is charged.

    Args:
        setting: what both sides are given.
        seeds: seeds of the runs.
        extra: further ``key=value`` for the recipe.
        label: name of the lines, so that several ways to search can be told apart.
        cores: processors to use.
        folder: folder of the results.

    Raises:
        CommandError: a run failed.
    """
    lines = Lines(folder)
    safe = "".join(letter if letter.isalnum() else "-" for letter in label)
    for seed in seeds:
        if lines.done(label, setting.limits_ms, seed):
            continue
        print(f"{label}: quarry run, seed {seed}; its words are in {folder / safe}", flush=True)
        for one in answers(setting, seed=seed, extra=extra, cores=cores, folder=folder / safe):
            if lines.done(label, [one.limit_ms], seed):
                continue
            bench = Bench(setting, seed, folder)
            lines.add(
                _judged(
                    bench,
                    side=label,
                    limit_ms=one.limit_ms,
                    network=f"{one.card.precision}, {one.card.macs / 1e6:.2f} M MACs",
                    file=one.file,
                    cost=one.cost,
                    training_macs=training_macs(one.run, len(bench.splits.train)),
                    epochs=None,
                )
            )


def measured_again(folder: Path) -> None:
    """Times the files of all lines side by side and adds the lines anew: one hour is not like another.

    Args:
        folder: folder of the results.

    Raises:
        FileNotFoundError: nothing was judged there yet.
    """
    bench, lines = Bench(read_record(Setting, folder / "setting.json"), 0, folder), Lines(folder)
    latest = lines.latest()
    timings = bench.latencies([Path(one.file) for one in latest])
    for one, (latency_ms, low_ms, high_ms) in zip(latest, timings, strict=True):
        lines.add(replace(one, latency_ms=latency_ms, low_ms=low_ms, high_ms=high_ms))


def _judged(
    bench: Bench,
    *,
    side: str,
    limit_ms: float,
    network: str,
    file: Path,
    cost: Cost,
    training_macs: float | None,
    epochs: int | None,
) -> Line:
    """A file run on the test images and timed; the same for both sides, and charged to neither."""
    accuracy = bench.accuracy(file, bench.splits.test)
    ((latency_ms, low_ms, high_ms),) = bench.latencies([file])
    line = Line(
        side=side,
        limit_ms=limit_ms,
        seed=bench.seed,
        network=network,
        accuracy=accuracy,
        test_images=len(bench.splits.test),
        latency_ms=latency_ms,
        low_ms=low_ms,
        high_ms=high_ms,
        cpu_s=cost.cpu_s,
        wall_s=cost.wall_s,
        budget_s=bench.setting.budget_s,
        training_macs=training_macs,
        epochs=epochs,
        file=str(file),
    )
    print(
        f"{side}, {limit_ms:g} ms, seed {bench.seed}: {accuracy:.2%} at {latency_ms:.3f} ms "
        f"for {cost.cpu_s:.0f} processor seconds of {line.budget_s:.0f}",
        flush=True,
    )
    return line
