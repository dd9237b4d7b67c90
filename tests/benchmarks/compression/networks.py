"""The networks that are compressed, written as an engineer writes them for small images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.space import Shape
from tests.benchmarks.by_hand.families import BasicBlock, convnext, mobilenet_v3


def resnet18(shape: Shape, classes: int, *, width: int, pool: bool) -> nn.Module:
    """ResNet-18: four stages of two blocks at widths w, 2w, 4w and 8w.

    Args:
        shape: (C, H, W) of an image.
        classes: number of classes.
        width: channels of the first stage; 64 is the published network.
        pool: whether the stem has a stride of 2 and a pooling, as for large images.
    """
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, 2 if pool else 1, 1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()]
    if pool:
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stage, (inputs, outputs) in enumerate(pairwise([width, *(width * 2**i for i in range(4))])):
        layers += [BasicBlock(inputs, outputs, 2 if stage else 1), BasicBlock(outputs, outputs, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, classes))


class Attention(nn.Module):
    """Attention over tokens (N, T, C), written by hand."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (N, heads, T, C / heads)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, tokens, -1))
        return out


class EncoderBlock(nn.Module):
    """Attention and an MLP, each after a LayerNorm and beside an identity."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(nn.Module):
    """Patches, a learned position, encoder blocks, and the mean of the tokens.

    Args:
        shape: (C, H, W) of an image.
        classes: number of classes.
        patch: side of a patch.
        channels: channels of a token.
        depth: blocks.
        heads: heads of each.
    """

    def __init__(
        self, shape: Shape, classes: int, *, patch: int, channels: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.patches = nn.Conv2d(shape[0], channels, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, channels))
        self.blocks = nn.Sequential(*(EncoderBlock(channels, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        out: Tensor = self.head(self.norm(self.blocks(x)).mean(dim=1))
        return out


NETWORKS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "resnet18": partial(resnet18, width=32, pool=True),
    "mobilenetv3": partial(mobilenet_v3, width=1.0, short=False, stem_stride=2),
    "vit": partial(ViT, patch=8, channels=128, depth=4, heads=4),
    "convnext": partial(convnext, width=48, depth=2, patch=4),
}
"""Small variants, by name: ``make((C, H, W), classes)``."""
