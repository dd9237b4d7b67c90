"""A first look: one network of the space goes through all that a run does with networks, in seconds.

What cannot work is known before anything takes long, and by whom it was said: what a network, an exporter or
a runtime raises here would otherwise end a stage hours later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from compress.candidate import Candidate, Context, Step
from compress.failure import reason
from compress.onnx.verify import verify
from compress.plain import faithful_copy
from compress.steps.registry import step_names, unmet_needs
from compress.target import Target
from nas.costs.counts.analytic import count
from nas.costs.layers.probes import layer_kind
from nas.costs.layers.sums import layers_of
from nas.rules.moment import Moment, Pass
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from results.numbers import count as in_units
from results.precision import MIXED
from runners.artifacts.verify import MAX_DIFFERENCE
from runners.console import Console
from runners.data.prepared import RunData
from runners.recipe.schema import Recipe
from runners.stages.compress import configured_steps
from runners.stages.teachers import Teachers
from runners.stages.train import mix_of, train_settings
from runners.training.auxiliary import parts
from runners.training.batches import TrainingData
from runners.training.loop import train
from runners.training.trainable import SharedWeights
from search_spaces.space import Arch, SearchSpace

_Layer = tuple[Callable[[], nn.Module], tuple[int, ...]]  # what makes it, and the shape of its input
_IMAGES = 16  # that it is trained on, in two steps
_RATE = 1e-5  # of learning: first weights are good enough for a look, and are not to diverge


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What a first look works with.

    Attributes:
        space: space of the run.
        data: a few of its images are used.
        target: files are made for it and run on it, where it can be reached.
        forms: number formats that networks may be handed over in.
        recipe: recipe of the run, with the compression steps that it will try.
        shared: whether the networks will share weights.
        device: device to train on.
        console: console of the run.
    """

    space: SearchSpace
    data: RunData
    target: Target
    forms: tuple[str, ...]
    recipe: Recipe
    shared: bool
    device: torch.device
    console: Console

    @property
    def images(self) -> Tensor:
        """A few training images as network input, (N, C, H, W)."""
        return self.data.training_images(_IMAGES)


def look_first(work: FirstLook) -> tuple[str, ...]:
    """Takes one network, drawn by the recipe's seed, through training, costs, export, and every step.

    Returns:
        What will come to nothing and can be done without, in sentences: a number format, a step.

    Raises:
        ValueError: the network cannot be trained, costed or exported, or its file gives other outputs; names
            the stage, the network, the reason and what can be done.
        OSError: the target is gone, or the disk is full.
    """
    began = time.monotonic()
    drawn = work.space.sample(1, np.random.default_rng([work.recipe.seed, 2]))[0]
    arch = work.space.to_arch(drawn)
    with _told("training", arch):
        network = _trained(work, arch)
    _check_teachers(work, network)
    with _told("counting", arch):
        macs = count(network, work.data.input_shape).macs
        kinds = _layers(work, arch)
    notes: tuple[str, ...] = ()
    if work.target.facts.reachable:
        with TemporaryDirectory(prefix="quarry-") as scratch:
            folder = Path(scratch)
            with _told("exporting", arch):
                file = _exported(work, network, folder)
            notes = (*_kinds(work, kinds, folder), *_forms(work, network, folder))
            notes = (
                *notes,
                *_steps(
                    work,
                    arch,
                    Candidate(network=network, file=file, precision=work.target.facts.float_precision),
                    folder,
                ),
            )
    short = in_units(macs).replace("\u00a0", " ")
    work.console.say(
        f"a first look at one network ({short} MACs) took {time.monotonic() - began:.0f} s: it trains"
        + (", and its file is the network" if work.target.facts.reachable else "")
    )
    for note in notes:
        work.console.say(f"  {note}")
    return notes


def _check_teachers(work: FirstLook, network: nn.Module) -> None:
    """Whether the network can learn from the recipe's teachers.

    Raises:
        ValueError: a teacher cannot be opened, or does not fit the network.
    """
    recovery = work.recipe.compress.recovery
    if not recovery.has_teachers and [one.kind for one in recovery.methods] == ["kd"]:
        return  # the largest of the same space, by its outputs
    try:
        taught = Teachers(settings=recovery, largest=network, device=work.device).of(network)
        taught.teaching(faithful_copy(network).to(work.device), _few(work), work.recipe.seed)
    except ValueError as error:
        raise ValueError(f"compress.recovery: {error}") from error


@contextmanager
def _told(stage: str, arch: Arch) -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network, an exporter or a runtime raises
        said = str(error).strip() or type(error).__name__
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"a first look, before anything takes long: {stage} the network of arch {dict(arch)} fails: "
            f"{kind}{said}. Mend its module, or leave what it has out of the space's choices"
        ) from error


def _trained(work: FirstLook, arch: Arch) -> nn.Module:
    """The network after two steps of the loop that all trainings use, statistics set, on the CPU."""
    recipe = work.recipe.train
    space = work.space if work.shared else work.space.only(arch)
    supernet = Supernet(space, seed=work.recipe.seed, device=work.device)
    few = _few(work)
    settings = replace(
        train_settings(recipe), epochs=1, batch_size=max(2, len(few.images) // 2), learning_rate=_RATE
    )

    def rule(moment: Moment) -> list[Pass]:
        del moment
        return [Pass(arch=dict(arch))]

    trained = train(SharedWeights(supernet), few, settings, rule=rule, seed=work.recipe.seed)
    return recalibrate(trained.extract(arch).cpu(), work.images)


def _few(work: FirstLook) -> TrainingData:
    """A few training images with their labels."""
    data = work.data
    train_split = data.splits.train
    chosen = torch.linspace(0, len(train_split) - 1, min(_IMAGES, len(train_split))).long()
    return TrainingData(
        images=train_split.images[chosen].to(work.device),
        labels=train_split.labels[chosen].to(work.device),
        prepare=data.prepare,
        mix=mix_of(work.recipe.train, len(data.classes)),
        task=data.task,
        balance=data.balance,
    )


def _layers(work: FirstLook, arch: Arch) -> dict[str, _Layer]:
    """A layer of each kind in the network, where layers will be measured."""
    if not work.shared:
        return {}
    found: dict[str, _Layer] = {}
    layers = layers_of(work.space.only(arch), work.recipe.seed)
    for key, made in zip(layers.keys, layers.modules, strict=True):
        found.setdefault(layer_kind(key), made)
    return found


def _exported(work: FirstLook, network: nn.Module, folder: Path) -> Path:
    """The network's file, run on the target and compared with the network."""
    file, precision = folder / f"network.{work.target.facts.format}", _exported_in(work)
    work.target.export(network, work.data.input_shape, file, precision=precision)
    _compare(work, network, file, exact=precision == "fp32")
    return file


def _exported_in(work: FirstLook) -> str:
    """The number format that compression begins with."""
    return work.target.facts.float_precision if work.forms == (MIXED,) else work.forms[0]


def _compare(work: FirstLook, network: nn.Module, file: Path, *, exact: bool) -> None:
    """Runs a file on a few images.

    Raises:
        ValueError: it does not run, gives numbers that are not finite, or, where it is to be ``exact``, other
            outputs than the network.
    """
    images = work.images.numpy()
    verify(
        file,
        network,
        (images, np.zeros(len(images), dtype=np.int64)),
        run=work.target.run,
        score=lambda *_: 0.0,
        max_difference=MAX_DIFFERENCE if exact else None,
    )


def _kinds(work: FirstLook, kinds: dict[str, _Layer], folder: Path) -> Iterator[str]:
    """The kinds of layers that the target does not take."""
    file = folder / f"layer.{work.target.facts.format}"
    for kind, (make, shape) in kinds.items():
        if problem := _problem(lambda: work.target.export(make().eval(), shape, file)):  # noqa: B023 - at once
            yield f"layers of kind {kind} have no time of their own: {problem}"


def _forms(work: FirstLook, network: nn.Module, folder: Path) -> Iterator[str]:
    """The number formats, beside that of the exported file, that networks like it cannot have."""
    exported = _exported_in(work)
    for form in (one for one in work.forms if one != exported):
        if problem := _problem(partial(_run_in, work, network, form, folder)):
            yield f"networks like it cannot be {form}: {problem}"


def _run_in(work: FirstLook, network: nn.Module, form: str, folder: Path) -> None:
    file = folder / f"{form}.{work.target.facts.format}"
    work.target.export(network, work.data.input_shape, file, precision=form)
    _compare(work, network, file, exact=False)


def _steps(work: FirstLook, arch: Arch, candidate: Candidate, folder: Path) -> Iterator[str]:
    """The compression steps that come to nothing on the network, with the reasons."""
    steps = configured_steps(work.recipe.compress.steps)
    context = _context(work, arch)
    for step, name in zip(steps, step_names(steps), strict=True):
        problem = unmet_needs(step, work.target.facts) or _problem(
            partial(_take, work, step, candidate, context, folder / name)
        )
        if problem:
            yield f"{name} comes to nothing on it: {problem}"


def _take(work: FirstLook, step: Step, candidate: Candidate, context: Context, place: Path) -> None:
    """Takes a step and runs what it gives."""
    place.mkdir()
    for one in step.propose(candidate, context, place):
        _compare(work, one.network, one.file, exact=one.precision == "fp32")


def _problem(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Exception as error:  # whatever a user's module, an exporter or a runtime raises
        return reason(error)
    return ""


def _context(work: FirstLook, arch: Arch) -> Context:
    """What the steps call; a training is one pass forward and backward."""
    data, images = work.data, work.images
    labels = data.splits.train.labels[:1].repeat_interleave(len(images), 0)

    def trained(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        del seed, epochs
        network = network.to(work.device).train()
        outputs = parts(network(images.to(work.device)))
        if outputs is None:
            raise ValueError(f"{type(network).__name__} gives no tensor in training mode")
        data.task.loss(outputs[0], labels.to(work.device)).backward()
        network.zero_grad(set_to_none=True)
        return network.cpu().eval()

    def retrained(*, seed: int, epochs: int | None = None, taught: bool = False) -> nn.Module:
        del taught
        return trained(faithful_copy(work.space.build(arch)), seed=seed, epochs=epochs)

    return Context(
        target=work.target,
        example=data.example,
        images=images.numpy(),
        score=lambda _: 0.0,
        calibration=images.numpy(),
        finetune=trained,
        retrain=retrained,
        loss=lambda network: data.task.loss(network(images), labels),
        macs=lambda network: count(network, data.input_shape).macs,
        tolerance=1.0,
        seed=work.recipe.seed,
    )
