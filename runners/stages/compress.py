"""Stage 4: fine-tune, retrain, prune and quantize networks of the front; a step is kept only if it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from compress.candidate import Candidate, Context, Step
from compress.failure import UnusableError
from compress.pruning.importance import Loss
from compress.run import run_steps
from compress.steps import STEPS
from compress.target import Target
from nas.costs.counts.analytic import count
from results.files import read_json, write_json
from results.records import FrontEntry, SearchSummary
from results.timing import Timing
from runners.console import Bar
from runners.data.prepared import RunData
from runners.recipe.part import Part
from runners.stages.trainings import Compressing, finetuning, recorded, retraining

SECONDS_EACH = 1.5
_LOSS_IMAGES = 256  # images of the loss whose gradients importance criteria read
_SPARE = 3  # networks that may take the place of chosen ones whose files are too slow
_CHOSEN = "networks.json"


def compress_front(work: Compressing, summary: SearchSummary) -> None:
    """Compresses networks of the front; writes ``steps.jsonl``, ``networks.json`` and each network's files.

    Where no file of the chosen is measured under the limit, faster networks are compressed too, a few. A
    network that cannot be compressed at all is left out.

    Raises:
        ValueError: no network of the front meets the limit as measured, or none can be compressed.
    """
    chosen = chosen_from_front(summary, work.recipe.compress.networks)
    limit_ms = summary.limit_ms if work.recipe.compress.goal == "limit" else None
    compressed, reasons = compressed_networks(work, chosen, limit_ms)
    waiting = spare(summary, chosen)[:_SPARE]
    while not (met := _any_meets(work.target, list(compressed.values()), summary.limit_ms)) and waiting:
        entry = waiting.pop(0)
        work.console.say(
            f"no file measures under {summary.limit_ms:.4g} ms; compressing {entry.name}, which is faster"
        )
        chosen = [*chosen, entry]
        more, further = compressed_networks(work, [entry], limit_ms)
        compressed, reasons = compressed | more, [*reasons, *further]
    if not compressed:
        raise ValueError(f"none of {len(chosen)} networks of the front could be compressed: {reasons[0]}")
    if not met:
        work.console.warn(
            f"no file measures under {summary.limit_ms:.4g} ms. Where a step was undone for accuracy, let it "
            f"cost more: quarry compress --out {work.folder.parent} --set compress.tolerance=0.03"
        )
    write_json(work.folder / _CHOSEN, list(compressed))


def _any_meets(target: Target, compressed: Sequence[Candidate], limit_ms: float) -> bool:
    """Whether one of the files is measured under the limit."""
    if not compressed:
        return False
    timings = measure_files(target, [one.file for one in compressed])
    return any(timing.median_ms <= limit_ms for timing in timings)


def compressed_entries(folder: Path, summary: SearchSummary) -> list[FrontEntry]:
    """The networks of the front that were compressed, in the order they were chosen.

    Args:
        folder: ``compress/`` of the run.
        summary: Summary of the search.

    Raises:
        ValueError: what was compressed is not of this search.
    """
    by_name = {entry.name: entry for entry in summary.front}
    names = read_json(folder / _CHOSEN)
    if strange := [name for name in names if name not in by_name]:
        raise ValueError(
            f"{folder / _CHOSEN} names {', '.join(strange)}, which the search did not find; compress again "
            f"with: quarry compress --out {folder.parent}"
        )
    return [by_name[name] for name in names]


def compressed_networks(
    work: Compressing, entries: Sequence[FrontEntry], limit_ms: float | None
) -> tuple[dict[str, Candidate], list[str]]:
    """Networks of the front, by name, as compression left them; finished steps are read, not repeated.

    One that cannot be exported or does not run is left out and told; the reasons come second.

    Args:
        work: What compression works with.
        entries: Networks of the front.
        limit_ms: Latency that is fast enough; None where faster is always better.
    """
    with work.console.progress("compressing") as bar:

        def on_step(done: int, total: int) -> None:
            bar.update(done, total)

        context = context_of(work, on_step, limit_ms)
        found: dict[str, Candidate] = {}
        reasons = []
        for entry in entries:
            try:
                network = work.networks.network(entry.arch)
                found[entry.name], _ = run_steps(
                    entry.name,
                    network,
                    configured_steps(work.recipe.compress.steps),
                    replace(
                        context,
                        retrain=retraining(work, entry, on_step, network),
                        finetune=finetuning(work, on_step, network),
                    ),
                    folder=work.folder / entry.name,
                    log=work.folder / "steps.jsonl",
                    begin=partial(_begin, bar, entry.name),
                    progress=lambda record: recorded(work, record),
                )
            except UnusableError as error:
                reasons.append(str(error))
                work.console.warn(f"{entry.name} is left out: {error}")
        return found, reasons


def _begin(bar: Bar, network: str, step: str) -> None:
    bar.begin(f"{network}, {step}")


def chosen_from_front(summary: SearchSummary, networks: int) -> list[FrontEntry]:
    """The most accurate network that meets the limit as measured, then others spread over faster ones.

    Accuracy is on all validation images, those that the search did not see included.

    Args:
        summary: Summary of the search.
        networks: Number of networks to choose.

    Raises:
        ValueError: none of the front meets the limit as measured.
    """
    meeting = _meeting(summary)
    if not meeting:
        fastest = min(summary.front, key=lambda entry: entry.measured_ms)
        raise ValueError(
            f"no network of the front measures under {summary.limit_ms:.4g} ms; the fastest takes "
            f"{fastest.measured_ms:.4g} ms. The device may have been busy: measure and search again, "
            f"or raise search.confidence"
        )
    best, rest = meeting[0], [entry for entry in meeting[1:] if entry.measured_ms < meeting[0].measured_ms]
    step = max(1, len(rest) // networks)
    return [best, *rest[step - 1 :: step][: networks - 1]]


def spare(summary: SearchSummary, chosen: Sequence[FrontEntry]) -> list[FrontEntry]:
    """Faster networks, for where the files of the chosen turn out too slow; the most accurate first."""
    fastest = min(entry.measured_ms for entry in chosen)
    return [entry for entry in _meeting(summary) if entry.measured_ms < fastest]


def _meeting(summary: SearchSummary) -> list[FrontEntry]:
    """The entries that meet the limit as measured, the most accurate first.

    Networks that were trained alone met it before, and there are no others: where none does now, all of them.
    """
    meeting = [entry for entry in summary.front if entry.meets_limit]
    if not meeting and summary.largest is None:
        meeting = list(summary.front)
    return sorted(meeting, key=lambda entry: (-summary.validation_accuracy(entry), entry.measured_ms))


def measure_files(target: Target, files: Sequence[Path]) -> list[Timing]:
    """Latency of exported files, measured side by side on the target.

    Raises:
        ValueError: one of them does not run.
    """
    timings = target.measure(files, budget_s=SECONDS_EACH * len(files))
    for file, timing in zip(files, timings, strict=True):
        if timing.status != "measured":
            raise ValueError(f"{file} does not run on {target.facts.profile}: {timing.reason}")
    return timings


def configured_steps(parts: Iterable[Part]) -> list[Step]:
    """The steps that a recipe asks for, with their settings."""
    return [STEPS.configured(part.kind, part.settings)() for part in parts]


def context_of(
    work: Compressing, on_step: Callable[[int, int], None], limit_ms: float | None = None
) -> Context:
    """What the steps may call.

    Args:
        work: What compression works with.
        on_step: Called with steps done and steps in all while a network is trained.
        limit_ms: Latency that is fast enough; None where faster is always better.
    """
    recipe, data = work.recipe.compress, work.data
    labels = data.splits.val.labels.numpy()
    seed = work.recipe.seed_or(recipe.seed)
    return Context(
        target=work.target,
        example=data.example,
        images=data.images(data.splits.val).numpy(),
        score=lambda outputs: data.score(outputs, labels),
        calibration=data.training_images(recipe.calibration_images).numpy(),
        finetune=finetuning(work, on_step),
        loss=_loss(data, seed),
        macs=lambda network: count(network, data.input_shape).macs,
        tolerance=recipe.tolerance,
        noise=recipe.noise,
        limit_ms=limit_ms,
        seconds_each=SECONDS_EACH,
        seed=seed,
    )


def _loss(data: RunData, seed: int) -> Loss:
    """Loss of a network on the CPU, on a few hundred training images, drawn once."""
    train = data.splits.train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:_LOSS_IMAGES]
    images, labels = data.prepare(train.images[drawn], None), train.labels[drawn]

    def loss(network: nn.Module) -> Tensor:
        return data.task.loss(network(images), labels)

    return loss
