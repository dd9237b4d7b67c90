"""Reversible blocks: couplings whose inputs are computed again from their outputs, so that training keeps one
map however many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase

from search_spaces.blocks.joined import in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm, OddSize, Positive, PositiveRatio

HAND = 8


class Coupling(nn.Module):
    """a + first(b), then b + second(a), for two halves of the channels."""

    def __init__(self, channels: int, hidden: int, kernel: int, activation: str) -> None:
        super().__init__()
        self.first, self.second = (
            in_a_row(
                expand=ConvNorm(channels, hidden, activation=activation),
                depthwise=ConvNorm(hidden, hidden, kernel, groups=hidden, activation=activation),
                project=ConvNorm(hidden, channels),
            )
            for _ in range(2)
        )

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        a = a + self.first(b)
        return a, b + self.second(a)


class Reversible(nn.Module):
    """Inverted bottlenecks that halves of the channels add to each other; keeps the shape.

    "Memory Efficient 3D U-Net with Reversible Mobile Inverted Bottlenecks for Brain Tumor Segmentation"
    (Pendse et al., BrainLes 2020), section 2.2, on the couplings of "The Reversible Residual Network:
    Backpropagation Without Storing Activations" (Gomez et al., NeurIPS 2017), section 3. In training mode
    only the last output is kept: what came before is computed from it on the way back, with a second forward
    pass of each bottleneck, and the gradients are those of the plain couplings, to rounding. Halves are
    dealt by eights, so that a channel keeps its half at any width.

    Args:
        inputs: channels of the block, a multiple of 16; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation inside of the bottlenecks.
        couplings: pairs of bottlenecks, one after another.
        expansion: channels inside of a bottleneck over those of a half.
        kernel: side of the depthwise kernel in pixels, odd.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002  the same as the inputs
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        couplings: Positive,
        expansion: PositiveRatio,
        kernel: OddSize,
    ) -> None:
        super().__init__()
        half = inputs // 2
        self.deal = Deal((HAND, HAND), inputs)
        self.couplings = nn.ModuleList(
            Coupling(half, round(half * expansion), kernel, activation) for _ in range(couplings)
        )

    def forward(self, x: Tensor) -> Tensor:
        halves = self.deal.split(x)
        if self.training and torch.is_grad_enabled() and not _hooked(self.couplings):
            # Sums have to be undone, which halves of 16 bits are too coarse for.
            halves = [half.to(torch.promote_types(half.dtype, torch.float32)) for half in halves]
            halves = _Recomputed.apply(self.couplings, *halves, *self.couplings.parameters())
        else:
            for coupling in self.couplings:
                halves = coupling(*halves)
        return self.deal.join(halves)


def _hooked(couplings: nn.ModuleList) -> bool:
    """Whether somebody looks inside, as masks and distillation do: what they see has to have a history."""
    return any(one._forward_hooks or one._forward_pre_hooks for one in couplings.modules())


class _Recomputed(torch.autograd.Function):
    """Couplings that keep their last output alone; each is undone on the way back, then differentiated."""

    @staticmethod
    def forward(
        ctx: Any, couplings: nn.ModuleList, a: Tensor, b: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor]:
        for coupling in couplings:
            a, b = coupling(a, b)
        kind = a.device.type
        ctx.couplings = couplings
        ctx.mode = {"enabled": torch.is_autocast_enabled(kind), "dtype": torch.get_autocast_dtype(kind)}
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, da: Tensor, db: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        gradients: dict[nn.Parameter, Tensor] = {}
        with _norms_as_they_are(ctx.couplings), torch.autocast(a.device.type, **ctx.mode):
            for coupling in reversed(ctx.couplings):
                made, back = _differentiated(coupling.second, a, db, gradients)
                b, da = b - made, da + back
                made, back = _differentiated(coupling.first, b, da, gradients)
                a, db = a - made, db + back
        return (None, da, db, *(gradients.get(one) for one in ctx.couplings.parameters()))


def _differentiated(
    inner: nn.Module, x: Tensor, wanted: Tensor, gradients: dict[nn.Parameter, Tensor]
) -> tuple[Tensor, Tensor]:
    """What a module makes of x, and the gradient of x for that of the result; those of weights are added."""
    own = [one for one in inner.parameters() if one.requires_grad]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        made = inner(x)
        back, *found = torch.autograd.grad(made, [x, *own], wanted.to(made.dtype))
    gradients.update(zip(own, found, strict=True))
    return made.detach(), back


@contextlib.contextmanager
def _norms_as_they_are(couplings: nn.ModuleList) -> Iterator[None]:
    """Norms that take the statistics of the batch, which they have counted already, and count nothing."""
    counting = [one for one in couplings.modules() if isinstance(one, _NormBase) and one.track_running_stats]
    try:
        for norm in counting:
            norm.track_running_stats = False
        yield
    finally:
        for norm in counting:
            norm.track_running_stats = True


register_block(
    Block(
        name="reversible",
        make=Reversible,
        choices=(
            Choice("couplings", (1, 2, 3), role="depth"),
            Choice("expansion", (2, 4)),
            Choice("kernel", (3, 5), role="kernel"),
        ),
        channel_multiple=2 * HAND,
        entered=True,
    )
)
