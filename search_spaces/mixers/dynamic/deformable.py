"""Deformable convolution: a sum over points near a position, whose places and weights the image decides."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.fixed import pixels
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize, Positive

fx.wrap("pixels")


class Deformable(nn.Module):
    """sum over t of m_t v(p + p_t + d_t), d and m of each position and group, (B, C, H, W) -> (B, C, H, W).

    "Efficient Deformable ConvNets: Rethinking Dynamic and Sparse Operator for Vision Applications" (Xiong
    et al., CVPR 2024), section 3: version 4, whose weights m are not normalised. Between pixels v is
    interpolated, outside of the map it is zero. Its speed there is that of a CUDA kernel, which is left
    out: here it samples point by point with the operator that PyTorch and ONNX (GridSample) know, slowly;
    in training it holds the activations kernel^2 times. Devices without that operator leave it out
    (``unsupported_mixers`` of their profiles). Offsets begin at zero.

    With ``farthest`` offsets are limited, as "Algorithm-hardware Co-design for Deformable Convolution"
    (Huang et al., 2021) and CoDeNet (Dong et al., 2021) limit them so that a line buffer holds all that is
    read.

    Args:
        channels: C, a multiple of ``group_channels``.
        points: side of the square of points, odd.
        group_channels: channels that share offsets and weights.
        farthest: largest offset along a side, in pixels; 0 for any.

    Raises:
        ValueError: a width that is no multiple of the group's.
    """

    def __init__(
        self,
        channels: int,
        *,
        points: OddSize,
        group_channels: Positive = 8,
        farthest: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        super().__init__()
        groups, rest = divmod(channels, group_channels)
        if rest:
            raise ValueError(f"dcnv4 needs a width that is a multiple of {group_channels}, got {channels}")
        self.points, self.group_channels, self.farthest = points, group_channels, farthest
        self.value = ConvNorm(channels, channels)
        self.look = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.offsets = PointMaps(channels, groups, points, 2)
        self.weights = PointMaps(channels, groups, points, 1)
        self.project = ConvNorm(channels, channels)
        nn.init.zeros_(self.offsets.weight)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        value = self.value(x).unflatten(1, (-1, self.group_channels)).flatten(0, 1)
        seen = self.look(x)
        offsets = self.offsets(seen).flatten(0, 1)  # (B groups, points^2, 2, H, W): rows, then columns
        weights = self.weights(seen).flatten(0, 1)  # (B groups, points^2, 1, H, W)
        if self.farthest:
            offsets = offsets.clamp(-self.farthest, self.farthest)
        here = pixels(height, width, x)
        mixed = x.new_zeros(())
        for point in range(self.points**2):
            down, right = divmod(point, self.points)
            rows = here[0] + (down - self.points // 2) + offsets[:, point, 0]
            columns = here[1] + (right - self.points // 2) + offsets[:, point, 1]
            # Where pixels' centres lie, if the map is from -1 to 1.
            places = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
            sampled = nn.functional.grid_sample(value, places, align_corners=False)
            mixed = torch.addcmul(mixed, sampled, weights[:, point])
        whole = mixed.unflatten(0, (x.shape[0], -1)).flatten(1, 2)
        result: Tensor = self.project(whole)
        return result


class PointMaps(nn.Module):
    """Numbers for every point of each group, from the channels of a position: a 1x1 convolution.

    (B, C, H, W) -> (B, groups, points^2, numbers, H, W). The points of a smaller square are the centre ones
    of a larger.
    """

    centre_dims: ClassVar = {"weight": (1, 2), "bias": (1, 2)}

    def __init__(self, channels: int, groups: int, points: int, numbers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, points, points, numbers, channels))
        self.bias = nn.Parameter(torch.zeros(groups, points, points, numbers))
        nn.init.kaiming_uniform_(self.weight.view(-1, channels), a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        groups, points, _, numbers = self.bias.shape
        maps = nn.functional.conv2d(x, self.weight.flatten(0, 3)[..., None, None], self.bias.flatten())
        return maps.unflatten(1, (groups, points**2, numbers))


register_mixer(
    Mixer(
        name="dcnv4",
        make=Deformable,
        choices=(Choice("points", (3, 5), role="kernel"),),
        channel_multiple="group_channels",
    )
)
