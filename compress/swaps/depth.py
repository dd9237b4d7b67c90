"""Choice of the blocks to leave out for a time to be saved: an exact one, and a learned one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax

from compress.plain import faithful_copy
from compress.swaps.blocks import gone_around
from compress.swaps.paths import LayerSpan, cheapest_spans

_HOT, _COLD = 4.0, 0.1


def cheapest(losses: Sequence[Sequence[float]], saved: Sequence[Sequence[float]], needed: float) -> list[int]:
    """One option of each group, at the least sum of losses that saves what is needed; exact to 1/2000 of it.

    Args:
        losses: Loss of each option of each group.
        saved: Time that each option saves, not below zero.
        needed: Time to be saved.

    Raises:
        ValueError: all groups together do not save that much.
    """
    spans = [
        LayerSpan(begin=group, end=group + 1, loss=loss, saved=time)
        for group, options in enumerate(zip(losses, saved, strict=True))
        for loss, time in zip(*options, strict=True)
    ]
    first = [0]
    for options in losses:
        first.append(first[-1] + len(options))
    chosen = cheapest_spans(spans, len(losses), needed)
    return [number - first[group] for group, number in enumerate(chosen)]


def learned_masks(
    network: nn.Module,
    groups: Sequence[Sequence[str]],
    loss: Callable[[nn.Module], Tensor],
    saved: Sequence[Sequence[float]],
    needed: float,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
) -> list[list[float]]:
    """Log-probabilities of every mask of every group of blocks, after gates and weights were trained
    together.

    "TinyFusion: Diffusion Transformers Learned Shallow" (Fang et al., CVPR 2025), section 3: of each group of
    blocks a mask is drawn by a Gumbel softmax that grows cold; each block's output is mixed with its input by
    the mask; masks and weights learn together, so that what counts is what training makes of a mask. There
    each mask leaves a fixed number of blocks and the weights move by a low-rank update; here all masks stand
    to choice, a term of the loss asks for the time, and the weights move at a tenth of the masks' rate.

    Args:
        network: Network; it is left untouched.
        groups: Names of the blocks of each group.
        loss: Loss of a network.
        saved: Time that each mask of each group saves, by its bits: bit j set leaves block j out.
        needed: Time to be saved.
        steps: Optimizer steps.
        learning_rate: Learning rate of the masks.
        seed: Seed of the draws.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        copy = faithful_copy(network).eval()
        logits = [torch.zeros(2 ** len(group), requires_grad=True) for group in groups]
        times = [torch.tensor(each) / max(needed, 1e-12) for each in saved]
        optimizer = torch.optim.AdamW(
            [
                {"params": logits, "lr": learning_rate},
                {"params": [p for p in copy.parameters() if p.requires_grad], "lr": learning_rate / 100},
            ],
            weight_decay=0.0,
        )
        for step in range(steps):
            heat = _HOT + (_COLD - _HOT) * step / max(1, steps - 1)
            drawn = [gumbel_softmax(each, tau=heat) for each in logits]
            kept = {
                name: sum(drawn[g][mask] for mask in range(2 ** len(group)) if not mask >> place & 1)
                for g, group in enumerate(groups)
                for place, name in enumerate(group)
            }
            hooks = [
                copy.get_submodule(name).register_forward_hook(
                    lambda _module, given, output, share=share: share * output + (1 - share) * given[0]
                )
                for name, share in kept.items()
            ]
            try:
                told = loss(copy)
            finally:
                for hook in hooks:
                    hook.remove()
            expected = torch.stack(
                [(p.softmax(0) * t).sum() for p, t in zip(logits, times, strict=True)]
            ).sum()
            total = told + (1 - expected).clamp_min(0)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return [each.detach().log_softmax(0).tolist() for each in logits]


def rises(network: nn.Module, names: Sequence[str], damage: Callable[[], float]) -> list[float]:
    """What each block alone is worth: how much more damage there is without it, not below zero."""
    with torch.no_grad():
        whole = damage()
        found = []
        for name in names:
            with gone_around(network, [name]):
                found.append(max(0.0, damage() - whole))
    return found
