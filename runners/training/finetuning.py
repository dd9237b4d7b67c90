"""Training one plain network further, on labels and on a teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.distillation import distillation_loss
from runners.training.batches import Prepare, batches, batches_per_epoch, channels_last, generator
from runners.training.schedule import warmup_cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """How a network is trained further.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: peak, of AdamW.
        weight_decay: of matrices and kernels.
        teacher_weight: share of the loss on the teacher's outputs; the rest is on labels.
        temperature: softens both outputs where the teacher is compared with.
        gradient_clip: largest norm of the gradient.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    teacher_weight: float
    temperature: float
    gradient_clip: float


def finetune(
    network: nn.Module,
    teacher: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    prepare: Prepare,
    settings: FinetuneSettings,
    *,
    seed: int,
    on_step: Callable[[int, int], None],
) -> nn.Module:
    """Trains a network in place and returns it in eval mode.

    Args:
        network: plain module on the device to train on; ends there with its trained weights.
        teacher: in eval mode, on the same device; None trains on labels alone.
        images: (N, C, H, W) as stored.
        labels: (N,), int64.
        prepare: makes stored images into network input.
        settings: see there.
        seed: of data order and augmentation.
        on_step: called with (steps done, steps in all).

    Raises:
        ValueError: the loss is not finite.
    """
    device = next(network.parameters()).device
    optimizer = _optimizer(network, settings.weight_decay)
    per_epoch = batches_per_epoch(len(images), settings.batch_size)
    total, step = per_epoch * settings.epochs, 0
    network.train()
    for epoch in range(settings.epochs):
        for batch, target in batches(
            images, labels, prepare, batch_size=settings.batch_size, seed=seed, epoch=epoch
        ):
            rate = settings.learning_rate * warmup_cosine(step, total=total, warmup=per_epoch // 2)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.random.fork_rng(devices=[]):  # dropout follows from the seed too
                torch.manual_seed(generator(seed, step).initial_seed())
                loss = _loss(network, teacher, channels_last(batch.to(device)), target.to(device), settings)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"fine-tuning: the loss is {loss.item()} at step {step}; lower its learning rate"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimizer.step()
            step += 1
            on_step(step, total)
    return network.eval()


def _optimizer(network: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if sum(size > 1 for size in p.shape) > 1]
    others = [p for p in network.parameters() if sum(size > 1 for size in p.shape) <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, fused=True)


def _loss(
    network: nn.Module, teacher: nn.Module | None, batch: Tensor, target: Tensor, settings: FinetuneSettings
) -> Tensor:
    logits = network(batch)
    if teacher is None:
        return F.cross_entropy(logits, target)
    with torch.no_grad():
        wanted = teacher(batch)
    return distillation_loss(
        logits, wanted, target, temperature=settings.temperature, teacher_weight=settings.teacher_weight
    )
