"""Stage 4: fine-tune, retrain, prune and quantize networks of the front; a step is kept only if it pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from compress.candidate import Context, Step
from compress.onnx.verify import accuracy as file_accuracy
from compress.pruning.prune import COUNTS
from compress.run import Compressed, run_steps
from compress.steps import Finetune, Prune, Quantize, QuantizeAware
from nas.costs.counts.analytic import count
from nas.supernet.calibration import recalibrate
from results.files import read_json
from results.records import FrontEntry, SearchSummary, StepRecord
from results.registry import Registry
from runners.measuring.stopwatch import Timing
from runners.recipe.schema import Recipe
from runners.run.job import Job
from runners.stages.train import mix_of, train_settings
from runners.training.finetuning import FinetuneSettings, finetune
from runners.training.retraining import Retrain
from runners.training.standalone import train_alone
from search_spaces.space import Arch

_SECONDS_EACH = 1.5

STEPS: Registry[Callable[..., Step]] = Registry("compression step")
STEPS.add("finetune", lambda: Finetune())
STEPS.add("quantize", lambda: Quantize(), needs={"int8"})
STEPS.add("quantize_aware", lambda: QuantizeAware(), needs={"int8"})


@STEPS.register("retrain")
def _retrain(train: Callable[[int, int | None], nn.Module], *, epochs: int | None = None) -> Step:
    return Retrain(train=lambda seed: train(seed, epochs))


@STEPS.register("prune")
def _prune(
    *,
    keep: float | tuple[float, ...] = 0.75,
    counts: int | tuple[int, ...] = COUNTS,
    importance: str = "l2",
    across_layers: bool = False,
) -> Step:
    shares = keep if isinstance(keep, tuple) else (keep,)
    return Prune(keep=shares, counts=counts, importance=importance, across_layers=across_layers)


def run_compress(job: Job) -> None:
    """Compresses the chosen networks; writes ``compress/steps.jsonl`` and each network's files."""
    compressed_networks(job, chosen_from_front(job))


def compressed_networks(job: Job, entries: Sequence[FrontEntry]) -> list[tuple[FrontEntry, Compressed]]:
    """Networks of the front as compression left them; finished steps are read, not repeated."""
    with job.console.progress("training") as bar:
        context = _context(job, lambda done, total: bar.update(done, total))
        return [
            (
                entry,
                run_steps(
                    entry.name,
                    calibrated(job, entry.arch),
                    _steps(job, entry, lambda done, total: bar.update(done, total)),
                    context,
                    folder=job.path / "compress" / entry.name,
                    log=job.path / "compress" / "steps.jsonl",
                    progress=lambda record: _tell(job, record),
                ),
            )
            for entry in entries
        ]


def chosen_from_front(job: Job) -> list[FrontEntry]:
    """The most accurate network that meets the limit as measured, then others spread over faster ones.

    Accuracy is on all validation images, those that the search did not see included.

    Raises:
        ValueError: none of the front meets the limit as measured.
    """
    summary = search_summary(job)
    meeting = _meeting(summary)
    if not meeting:
        fastest = min(summary.front, key=lambda entry: entry.measured_ms)
        raise ValueError(
            f"no network of the front measures under {summary.limit_ms:.4g} ms; the fastest takes "
            f"{fastest.measured_ms:.4g} ms. The device may have been busy: profile and search again, "
            f"or raise search.confidence"
        )
    best, rest = meeting[0], [entry for entry in meeting[1:] if entry.measured_ms < meeting[0].measured_ms]
    step = max(1, len(rest) // job.recipe.compress.networks)
    return [best, *rest[step - 1 :: step][: job.recipe.compress.networks - 1]]


def spare(job: Job, chosen: Sequence[FrontEntry]) -> list[FrontEntry]:
    """What to take where the files of the chosen turn out too slow: faster ones, the most accurate first."""
    fastest = min(entry.measured_ms for entry in chosen)
    return [entry for entry in _meeting(search_summary(job)) if entry.measured_ms < fastest]


def search_summary(job: Job) -> SearchSummary:
    """What the search wrote."""
    return SearchSummary.from_json(read_json(job.path / "search" / "front.json"))


def _meeting(summary: SearchSummary) -> list[FrontEntry]:
    """The entries that meet the limit as measured, the most accurate first."""
    meeting = [entry for entry in summary.front if entry.meets_limit]
    return sorted(meeting, key=lambda entry: (-summary.validation_accuracy(entry), entry.measured_ms))


def calibrated(job: Job, arch: Arch) -> nn.Module:
    """A network extracted from the supernet, its BatchNorm statistics set, in eval mode."""
    return recalibrate(job.supernet.extract(arch), job.calibration)


def measure_files(job: Job, files: Sequence[Path]) -> list[Timing]:
    """Latency of exported files, measured side by side on the target."""
    timings = job.target.measure([file.read_bytes() for file in files], budget_s=_SECONDS_EACH * len(files))
    for file, timing in zip(files, timings, strict=True):
        if timing.status != "measured":
            raise ValueError(f"{file} does not run on {job.target.profile.name}: {timing.reason}")
    return timings


def _steps(job: Job, entry: FrontEntry, on_step: Callable[[int, int], None]) -> list[Step]:
    steps: list[Step] = []
    for part in job.recipe.compress.steps:
        if STEPS[part.kind].needs <= set(job.target.profile.precisions):
            make = STEPS.configured(part.kind, part.settings)
            trains = part.kind == "retrain"
            steps.append(
                make(lambda seed, epochs: _alone(job, entry, seed, epochs, on_step)) if trains else make()
            )
    return steps


def _alone(
    job: Job, entry: FrontEntry, seed: int, epochs: int | None, on_step: Callable[[int, int], None]
) -> nn.Module:
    """The network of an entry trained from scratch on labels, with the supernet's settings."""
    settings = train_settings(job.recipe.train)
    checkpoint = job.path / "compress" / entry.name / "retrain.checkpoint"
    trained = train_alone(
        job.space,
        entry.arch,
        job.splits.train.images.to(job.device),
        job.splits.train.labels.to(job.device),
        job.prepare,
        replace(settings, epochs=epochs or settings.epochs),
        seed=seed,
        checkpoint=checkpoint,
        on_step=on_step,
        mix=mix_of(job),
    )
    network = recalibrate(trained.extract(entry.arch).cpu(), job.calibration)
    checkpoint.unlink(missing_ok=True)
    return network


def _context(job: Job, on_step: Callable[[int, int], None]) -> Context:
    recipe, train = job.recipe.compress, job.splits.train
    validation = (job.images(job.splits.val).numpy(), job.splits.val.labels.numpy())
    teacher = calibrated(job, job.space.largest()).to(job.device)
    settings = finetune_settings(job.recipe, recipe.recovery.epochs)

    def trained(network: nn.Module, seed: int) -> nn.Module:
        images, labels = train.images.to(job.device), train.labels.to(job.device)
        tuned = finetune(
            network.to(job.device),
            teacher,
            images,
            labels,
            job.prepare,
            settings,
            seed=seed,
            on_step=on_step,
        )
        return tuned.cpu()

    shape = job.splits.input_shape
    return Context(
        example=job.images(job.splits.val, 2),
        finetune=trained,
        accuracy=lambda file: file_accuracy(file, validation),
        latency_ms=lambda files: measure_files(job, files),
        macs=lambda network: count(network, shape).macs,
        calibration=job.training_images(recipe.calibration_images).numpy(),
        tolerance=recipe.tolerance,
        seed=job.recipe.seed if recipe.seed is None else recipe.seed,
    )


def finetune_settings(recipe: Recipe, epochs: int) -> FinetuneSettings:
    """How networks are trained further, from the recipe; ``epochs`` passes over the training images."""
    return FinetuneSettings(
        epochs=epochs,
        batch_size=recipe.train.batch_size,
        learning_rate=recipe.compress.recovery.learning_rate,
        weight_decay=recipe.train.weight_decay,
        teacher_weight=recipe.compress.recovery.teacher_weight,
        temperature=recipe.compress.recovery.temperature,
        gradient_clip=recipe.train.gradient_clip,
    )


def _tell(job: Job, record: StepRecord) -> None:
    verdict = "kept" if record.kept else "undone"
    job.console.say(f"{record.network}, {record.step}: {verdict}; {record.reason} ({record.seconds:.0f} s)")
