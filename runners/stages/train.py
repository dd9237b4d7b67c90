"""Stage 2: train the supernet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.rules import rule
from nas.rules.moment import Rule
from nas.supernet.supernet import Supernet
from results.files import append_line, read_lines
from results.numbers import count as in_units
from results.records import EpochRecord
from runners.console import Bar, Console
from runners.data.prepared import RunData
from runners.recipe.schema import Train
from runners.scoring.subnets import SubnetEvaluator, evaluator_of
from runners.training.batches import TrainingData, batches_per_epoch
from runners.training.counted import StepCosts
from runners.training.crowd import crowded
from runners.training.loop import DivergedError
from runners.training.mixing import Mix
from runners.training.processes import training_processes
from runners.training.resolutions import check_input, check_outputs, check_resolutions
from runners.training.settings import TrainSettings
from runners.training.supernet import SupernetTraining
from runners.training.watch import EpochSummary, Watch
from search_spaces.space import Arch, SearchSpace

SUPERNET = "supernet.safetensors"
WATCHED_RANDOM = 2
_BIGGER = 1.5  # times the MACs


def train(
    space: SearchSpace,
    data: RunData,
    settings: Train,
    *,
    seed: int,
    device: torch.device,
    folder: Path,
    console: Console,
) -> Supernet:
    """Trains a supernet; writes ``supernet.safetensors`` and ``history.jsonl``.

    Args:
        space: whose networks share the weights.
        data: what they are trained and watched on.
        settings: the recipe's section.
        seed: seed of first values, data order, augmentation and sampling.
        device: device to train on.
        folder: ``train/`` of the run.
        console: console of the run.

    Raises:
        DivergedError: the loss is not finite, or a watched subnet cannot be scored.
        ValueError: as ``check_training``.
    """
    check_training(space, data, settings)
    console.say(
        f"training a supernet over {_many(space.size)} networks ({space.name}) for {settings.epochs} epochs "
        f"on {device}, rule {settings.rule}"
    )
    if warning := crowded(device):
        console.warn(warning)
    costs = AnalyticCosts(space)
    macs = macs_of(costs, seed=seed)
    rule, size = rule_of(settings, space), macs if settings.sampling == "size" else None
    work = SupernetTraining(
        space=space,
        rule=rule,
        settings=train_settings(settings),
        seed=seed,
        prepare=data.prepare,
        mix=mix_of(settings, len(data.classes)),
        task=data.task,
        balance=data.balance,
        size=size,
        own_norms=settings.own_norms,
    )
    images, labels = data.training_tensors(device)
    checkpoint = folder / "checkpoint.safetensors"
    with (
        console.progress("training the supernet") as bar,
        training_processes(
            work,
            images,
            labels,
            processes=settings.processes,
            device=device,
            checkpoint=checkpoint,
            address=settings.ray_address or None,
        ) as ranks,
    ):
        per_epoch = batches_per_epoch(len(images), settings.batch_size)
        spent = StepCosts(
            rule=rule,
            space=space,
            macs=macs,
            drawn_by=size,
            pixels=math.prod(data.input_shape[-2:]),
            seed=seed,
            steps=per_epoch * settings.epochs,
        )
        watch = _Watch(
            space,
            data,
            costs,
            lambda step: settings.batch_size * per_epoch * spent.per_image(step - per_epoch, step),
            seed=seed,
            folder=folder,
            console=console,
            bar=bar,
        )
        try:
            followed = Watch(step=watch.step, epoch=watch.epoch)
            trained = work(images, labels, checkpoint, ranks=ranks, watch=followed)
        except DivergedError as error:
            slower = f"--set train.learning_rate={settings.learning_rate / 3:.2g}"
            raise DivergedError(f"{error}, say: quarry train --out {folder.parent} {slower}") from error
    trained.save(folder / SUPERNET)
    watched = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in watch.latest.items())
    console.say(f"validation {data.task.metric} with shared weights: {watched}")
    return trained


def check_training(space: SearchSpace, data: RunData, settings: Train) -> None:
    """What is known to be impossible before a supernet is trained.

    Raises:
        ValueError: the space does not take the data, or a rule or resolution it can be trained with, or is no
            space of layers where norms are to be apart.
    """
    if settings.own_norms and not space.slots:
        raise ValueError(
            f"train.own_norms: space {space.name!r} only builds whole networks, so not all widths of its "
            f"norms are known before the training; leave it out, or make the space of slots"
        )
    check_input(space, data.input_shape)
    check_outputs(space, data.input_shape, len(data.classes), data.task)
    rule_of(settings, space)


def rule_of(recipe: Train, space: SearchSpace) -> Rule:
    """The training rule of a recipe's section."""
    resolutions = check_resolutions(space, recipe.resolutions)
    return rule(recipe.rule.kind, recipe.rule.settings, resolutions=resolutions)


def _many(count: int) -> str:
    """A count in full where that is short: 144, but 1.2e+09."""
    return f"{count:,}" if count < 10**6 else f"{count:.2g}"


def train_settings(recipe: Train) -> TrainSettings:
    """How the loop trains, from the recipe's section."""
    names = {one.name for one in fields(TrainSettings)} & set(Train.model_fields)
    return TrainSettings(**recipe.model_dump(include=names))


def training_data(data: RunData, recipe: Train, device: torch.device) -> TrainingData:
    """What networks of a run are trained on, on a device."""
    images, labels = data.training_tensors(device)
    return TrainingData(
        images=images,
        labels=labels,
        prepare=data.prepare,
        mix=mix_of(recipe, len(data.classes)),
        task=data.task,
        balance=data.balance,
    )


def mix_of(recipe: Train, classes: int) -> Mix | None:
    """How the images of a batch are mixed; None where the recipe mixes none."""
    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mix(classes=classes, mixup=recipe.mixup, cutmix=recipe.cutmix, share=recipe.mixed_share)


class _Watch:
    """Follows a training: the largest, the smallest and a few random subnets are scored each epoch."""

    def __init__(
        self,
        space: SearchSpace,
        data: RunData,
        costs: AnalyticCosts,
        spent: Callable[[int], float],
        *,
        seed: int,
        folder: Path,
        console: Console,
        bar: Bar,
    ) -> None:
        self._data, self._console, self._bar, self._note = data, console, bar, ""
        self._spent = spent
        self._archs: dict[str, Arch] = {"largest": space.largest(), "smallest": space.smallest()}
        rows = space.sample(WATCHED_RANDOM, np.random.default_rng([seed, 1]))
        self._archs |= {
            f"random subnet of {_short(macs)} MACs": space.to_arch(row)
            for row, macs in zip(rows, costs.macs(rows).tolist(), strict=True)
        }
        macs = costs.macs(np.stack([space.to_row(arch) for arch in self._archs.values()]))
        self._macs = dict(zip(self._archs, macs.tolist(), strict=True))
        self._history = folder / "history.jsonl"
        if not (folder / "checkpoint.safetensors").exists():  # what it tells is of a training begun again
            self._history.unlink(missing_ok=True)
        records = _records(self._history)
        self._known = {record.epoch for record in records}
        self.latest: dict[str, float] = records[-1].watched if records else {}

    def step(self, done: int, total: int) -> None:
        self._bar.update(done, total, self._note)

    def epoch(self, summary: EpochSummary, supernet: Supernet) -> None:
        evaluator = evaluator_of(supernet, self._data)
        looked_at = len(evaluator.calibration) + len(evaluator.images)
        macs = self._spent(summary.step) + looked_at * sum(self._macs.values())
        watched = {name: self._score(evaluator, name, summary) for name in self._archs}
        self.latest = watched
        self._note = f"loss {summary.loss:.3f}, " + ", ".join(
            f"{name} {watched[name]:.1%}" for name in ("largest", "smallest")
        )
        alarms = bigger_is_worse(watched, self._macs, len(self._data.splits.val))
        for alarm in alarms:
            self._console.warn(f"epoch {summary.epoch + 1}: {alarm}")  # counted from 1, as in the report
        if summary.epoch in self._known:  # killed after the line was written and before the checkpoint was
            return
        record = EpochRecord(
            epoch=summary.epoch,
            step=summary.step,
            loss=summary.loss,
            learning_rate=summary.learning_rate,
            seconds=summary.seconds,
            images_per_second=summary.images_per_second,
            watched=watched,
            alarms=alarms,
            macs=macs,
        )
        append_line(self._history, record.to_json())

    def _score(self, evaluator: SubnetEvaluator, name: str, summary: EpochSummary) -> float:
        try:
            return evaluator(self._archs[name])["accuracy"]
        except ValueError as error:
            raise DivergedError(
                f"after epoch {summary.epoch + 1} the {_called(name, self._macs[name])} cannot be scored: "
                f"{error}. Its arch is {self._archs[name]}; lower its learning rate or gradient_clip "
                "and train again"
            ) from error


def _records(history: Path) -> list[EpochRecord]:
    try:
        return [EpochRecord.from_json(line) for line in read_lines(history)]
    except ValueError as error:
        raise ValueError(
            f"{history} is damaged ({error}); delete it to go on without the curves of the epochs so far"
        ) from error


def bigger_is_worse(
    watched: Mapping[str, float], macs: Mapping[str, float], n_images: int
) -> tuple[str, ...]:
    """What is alarming: a bigger subnet doing clearly worse than a smaller one.

    Bigger is by half as many MACs again: of two mixers the dearer need not be the better. Clearly is by more
    than two standard errors of the difference of two shares of ``n_images``. For each bigger one, the best of
    the smaller ones is named.

    Args:
        watched: accuracies by name.
        macs: MACs of the same subnets.
        n_images: number of images that the accuracies were measured on.
    """
    alarms = []
    for name, accuracy in watched.items():
        smaller = [other for other in watched if macs[name] > _BIGGER * macs[other]]
        best = max(smaller, key=watched.__getitem__, default=name)
        error = math.sqrt(sum(watched[one] * (1 - watched[one]) for one in (name, best)) / n_images)
        if watched[best] - accuracy > 2 * error:
            alarms.append(
                f"the {_called(name, macs[name])} does worse than the {_called(best, macs[best])}: "
                f"{accuracy:.1%} against {watched[best]:.1%} on the validation images; "
                f"train longer or lower train.learning_rate"
            )
    return tuple(alarms)


def _called(name: str, macs: float) -> str:
    """A watched subnet in a sentence."""
    return f"{name} subnet ({_short(macs)} MACs)" if "subnet" not in name else name


def _short(count: float) -> str:
    """1234567 as 1.23 M."""
    return in_units(count).replace("\u00a0", " ")
