"""Search spaces that the tests share: the presets, and networks written the way users write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.operations.operation import Options
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.presets import preset


def digits_space() -> SearchSpace:
    return preset("digits", classes=10, input_shape=(1, 8, 8))


def cifar_space() -> SearchSpace:
    return preset("cifar", classes=10, input_shape=(3, 32, 32))


def fast_space() -> SearchSpace:
    """Convolutional stages of dense, grouped, gated and depthwise blocks, at odd sizes."""
    options: Options = {
        "residual": {"gate": "none"},
        "mbconv": {"gate": ["se", "eca"], "kernel": 3, "expansion": 2},
        "grouped": {"gate": "none"},
        "convnext": {"kernel": [3, 5], "ratio": 2},
    }
    stages = [
        ConvStage(widths=widths, depths=(1, 2), blocks=tuple(options), stride=stride, options=options)
        for widths, stride in (((16, 24), 1), ((24, 32, 40), 2))
    ]
    net = ConvNet(stages=tuple(stages))
    return convnet("fast", net, classes=10, input_shape=(3, 9, 7))


class BasicBlock(nn.Module):
    """ResNet's basic block with the middle width and kernel as arguments."""

    def __init__(self, inputs: int, middle: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = int(arch["width"])
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        blocks = []
        for index in range(int(arch["depth"])):
            middle = int(width * float(arch[f"expand{index}"]))
            blocks.append(BasicBlock(width, middle, width, int(arch[f"kernel{index}"]), 1))
        self.blocks = nn.Sequential(*blocks)
        self.down = BasicBlock(width, 2 * width, 2 * width, 3, 2)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.blocks(torch.relu(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


def resnet_space() -> SearchSpace:
    choices = [Choice("width", (8, 16, 24)), Choice("depth", (1, 2, 3), role="depth")]
    for index in range(3):
        deep = tuple(d for d in (1, 2, 3) if d > index)
        choices.append(Choice(f"kernel{index}", (3, 5, 7), "depth", deep, role="kernel"))
        choices.append(Choice(f"expand{index}", (0.5, 1.0, 2.0), "depth", deep))
    return SearchSpace("resnet", choices, ResNet, input_shape=(3, 16, 16))


class VitBlock(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        inner = heads * 8
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, inner) for _ in range(3))
        self.proj = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        batch, tokens, _ = y.shape
        q, k, v = (f(y).view(batch, tokens, self.heads, 8).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """A plain ViT; it keeps an index table that its constructor computes, as Swin and others do."""

    position_index: Tensor

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = int(arch["width"])
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.position = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.register_buffer("position_index", torch.arange(16).flip(0), persistent=False)
        self.blocks = nn.ModuleList(
            VitBlock(width, int(arch["heads"]), int(arch["ratio"])) for _ in range(int(arch["depth"]))
        )
        self.head = nn.Linear(width, 10)
        self.every = [self.patch, self.head]  # a plain list of modules beside the registered ones

    def forward(self, x: Tensor) -> Tensor:
        x = self.every[0](x).flatten(2).transpose(1, 2)
        x = x + self.position[:, self.position_index]
        for block in self.blocks:
            x = block(x)
        return self.every[1](x.mean(dim=1))


def vit_space() -> SearchSpace:
    choices = [
        Choice("width", (16, 32, 48)),
        Choice("heads", (1, 2, 4)),
        Choice("ratio", (1, 2)),
        Choice("depth", (1, 2, 3), role="depth"),
    ]
    return SearchSpace("vit", choices, Vit, input_shape=(3, 16, 16))


class UNet(nn.Module):
    """Two resolutions with a skip; the joined input is split by name so that channels keep their place."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        outer, inner, kernel = int(arch["outer"]), int(arch["inner"]), int(arch["kernel"])
        self.enter = nn.Conv2d(3, outer, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(1, outer)
        self.down = nn.Conv2d(outer, inner, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(inner, outer, 2, stride=2)
        self.from_skip = nn.Conv2d(outer, 2, 1)
        self.from_below = nn.Conv2d(outer, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.norm(self.enter(x)))
        below = torch.relu(self.up(torch.relu(self.down(skip))))
        return self.from_skip(skip) + self.from_below(below)


def unet_space() -> SearchSpace:
    choices = [
        Choice("outer", (4, 8)),
        Choice("inner", (8, 16, 24)),
        Choice("kernel", (1, 3, 5), role="kernel"),
    ]
    return SearchSpace("unet", choices, UNet, input_shape=(3, 16, 16))


SPACES = {
    "digits": digits_space,
    "cifar": cifar_space,
    "fast": fast_space,
    "resnet": resnet_space,
    "vit": vit_space,
    "unet": unet_space,
}
