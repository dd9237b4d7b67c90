"""One large depthwise kernel, trained beside small dilated ones that fold into it.

"UniRepLKNet: A Universal Perception Large-Kernel ConvNet" (Ding et al., CVPR 2024), section 3.1, the dilated
reparam block, and "Scaling Up Your Kernels" (Zhang et al., TPAMI 2025), its longer version. A dilated kernel
is a large one with zeros between its taps, and each branch has a norm of its own; so deployed, all are one
convolution. Without the branches it is the large-kernel mixer of "Transforming Image Super-Resolution: A
ConvFormer-based Efficient Approach" (Wu et al., TIP 2024). The squeeze and excitation after it is a gate of
blocks here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize

BRANCHES: dict[int, tuple[tuple[int, int], ...]] = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""Size and dilation of the branches beside a kernel, by its side, as in the authors' code; larger kernels
than these have those of the largest, smaller ones have none."""


class LargeKernel(nn.Module):
    """Depthwise large x large convolution plus dilated ones of its reach; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        large: side of the kernel in pixels, odd. Kernels of smaller sides are the centres of the larger; they
            share the branches that both have.
        dilated: whether it is trained with the dilated branches beside it.
    """

    def __init__(self, channels: int, *, large: OddSize, dilated: bool = True) -> None:
        super().__init__()
        self.large = ConvNorm(channels, channels, large, groups=channels)
        beside = BRANCHES.get(min(large, max(BRANCHES)), ()) if dilated else ()
        self.branches = nn.ModuleDict(
            {
                f"kernel{size}_dilation{dilation}": ConvNorm(
                    channels, channels, size, groups=channels, dilation=dilation
                )
                for size, dilation in beside
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.large(x)
        for branch in self.branches.values():
            y = y + branch(x)
        return y

    def folded(self) -> nn.Module:
        """The one convolution that computes the same in eval mode."""
        first = self.large.conv
        whole = nn.Conv2d(
            first.in_channels,
            first.out_channels,
            first.kernel_size[0],
            padding=first.kernel_size[0] // 2,
            groups=first.groups,
        ).to(first.weight)
        with torch.no_grad():
            kernels, biases = zip(
                *(_alone(one) for one in (self.large, *self.branches.values())), strict=True
            )
            whole.weight.zero_()
            for kernel in kernels:
                margin = (first.kernel_size[0] - kernel.shape[-1]) // 2
                whole.weight += nn.functional.pad(kernel, (margin,) * 4)
            assert whole.bias is not None
            whole.bias.copy_(torch.stack(biases).sum(dim=0))
        return whole


def _alone(part: nn.Module) -> tuple[Tensor, Tensor]:
    """Kernel, without gaps between its taps, and bias of a convolution with its norm folded in."""
    assert isinstance(part, ConvNorm)
    conv, norm = part.conv, part.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    kernel = conv.weight * scale.view(-1, 1, 1, 1)
    dilation, side = conv.dilation[0], conv.kernel_size[0]
    reach = (side - 1) * dilation + 1
    spread = kernel.new_zeros(*kernel.shape[:2], reach, reach)
    spread[:, :, ::dilation, ::dilation] = kernel
    return spread, norm.bias - norm.running_mean * scale


register_mixer(
    Mixer(name="large_kernel", make=LargeKernel, choices=(Choice("large", (7, 9, 13), role="kernel"),))
)
