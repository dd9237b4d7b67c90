"""Training one plain network further, on labels and on what teachers from outside give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from nas.distillation import KD, Lecture, Teacher, Teaching
from nas.distillation.teaching import MakeMethod
from nas.rules.moment import Moment, Pass
from runners.training.batches import TrainingData, channels_last
from runners.training.checkpoint import course_of
from runners.training.loop import DivergedError, train
from runners.training.pace import seconds_per_epoch
from runners.training.relabelling import Relabelled
from runners.training.settings import TrainSettings
from runners.training.trainable import OneNetwork
from runners.training.watch import SILENT, Watch

_EXAMPLES = 2  # images by which teachers are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Teachers of a network, and how it learns from them.

    Attributes:
        teachers: Networks in eval mode, on the device of the student, or functions of images; none leaves the
            labels alone. The mean over several counts.
        methods: Ways to learn from each, as ``nas.distillation.METHODS.configured`` gives them; losses are
            added up with their weights.
        teacher_weight: Share of that in the loss, in [0, 1]; labels have the rest.
    """

    teachers: tuple[Teacher, ...] = ()
    methods: tuple[MakeMethod, ...] = (KD,)
    teacher_weight: float = 0.7

    def teaching(self, student: nn.Module, data: TrainingData, seed: int) -> Teaching | None:
        """What a network learns from the teachers; None without any.

        Raises:
            ValueError: as ``Teaching``.
        """
        if not self.teachers:
            return None
        device = next(student.parameters()).device
        example = channels_last(data.prepare(data.images[:_EXAMPLES], None).to(device))
        logits = data.task.logits
        return Teaching(student, self.teachers, self.methods, example=example, logits=logits, seed=seed)


def digest(network: nn.Module, settings: TrainSettings, seed: int) -> str:
    """What tells a training that begins with these weights from others."""
    return course_of(OneNetwork(network), settings, seed)


def finetune(
    network: nn.Module,
    data: TrainingData,
    settings: TrainSettings,
    *,
    taught: Taught = Taught(),
    seed: int,
    checkpoint: Path | None = None,
    watch: Watch = SILENT,
) -> nn.Module:
    """Trains a network in place, going on from the checkpoint if there is one, and returns it in eval mode.

    Args:
        network: plain module on the device to train on; ends there with its trained weights.
        data: what it is trained on, and for which task.
        settings: how it is trained.
        taught: who teaches it, and how; nobody by default.
        seed: seed of data order, augmentation and the first values of projections.
        checkpoint: file to go on from and to write; None keeps nothing.
        watch: who follows the training.

    Raises:
        DivergedError: a loss or the gradient is not finite.
        ValueError: the checkpoint is damaged or another training's; the network has no parameters; or a
            teacher does not fit it, see ``Teaching``.
    """
    OneNetwork(network)  # refuses what has nothing to train, before teachers are looked at
    data = _with_what_was_kept(data, taught.teachers)
    teaching = taught.teaching(network, data, seed)
    try:
        train(
            OneNetwork(network, teaching),
            data,
            settings,
            rule=_rule(teaching, taught.teacher_weight),
            seed=seed,
            checkpoint=checkpoint,
            watch=watch,
        )
    except DivergedError as error:
        raise DivergedError(f"fine-tuning: {error}") from error
    return network.eval()


def finetuning_pace(
    network: nn.Module, data: TrainingData, settings: TrainSettings, *, taught: Taught, seed: int
) -> float:
    """Seconds of an epoch of ``finetune``, teachers included; see ``seconds_per_epoch``.

    Raises:
        DivergedError: a loss or the gradient is not finite.
        ValueError: as ``finetune``.
    """
    data = _with_what_was_kept(data, taught.teachers)
    teaching = taught.teaching(network, data, seed)
    rule = _rule(teaching, taught.teacher_weight)
    return seconds_per_epoch(network, data, settings, rule=rule, teaching=teaching)


def _with_what_was_kept(data: TrainingData, teachers: Sequence[Teacher]) -> TrainingData:
    """The data with what was kept of teachers, where that is what teaches."""
    kept = [one for one in teachers if isinstance(one, Relabelled)]
    if kept and len(teachers) > 1:
        raise ValueError(
            "what was kept of teachers stands beside another teacher; keep that one's outputs with the rest"
        )
    return replace(data, kept=kept[0]) if kept else data


def _rule(teaching: Teaching | None, share: float) -> Callable[[Moment], list[Pass]]:
    """The training rule of one network: one pass in each step."""

    def rule(moment: Moment) -> list[Pass]:
        teacher = Lecture(teaching=teaching, progress=moment.progress) if teaching else None
        return [Pass(arch=moment.space.smallest(), teacher=teacher, teacher_weight=share)]

    return rule
