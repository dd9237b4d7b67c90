"""Networks that an engineer would try: five families, each in several widths, depths and strides of the stem.

They are written for images of about 32x32 as people write them there: few stages, and the resolution is given
up later than in the versions for large images. Nothing here is tuned to a limit: the latency of every member
is measured, and a limit picks from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.space import Shape
from search_spaces.spaces.metaformer import Stage, metaformer

Make = Callable[[Shape, int], nn.Module]
"""``make((C, H, W), classes)`` gives a network with fresh weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network of a family.

    Attributes:
        family: name of the family.
        name: name of the network, unlike all others.
        make: function that builds it.
    """

    family: str
    name: str
    make: Make


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def _classifier(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


# -- thin ResNets ("Deep Residual Learning", He et al., 2016, section 4.2) ---------------------------


class BasicBlock(nn.Module):
    """Two dense 3x3 convolutions beside an identity, or beside a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(inputs, outputs, 3, stride), nn.ReLU(inplace=True), *_conv(outputs, outputs, 3)
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(shape: Shape, classes: int, *, width: int, depth: int, stem_stride: int) -> nn.Module:
    """Three stages of ``depth`` blocks at widths w, 2w and 4w, strides 1, 2, 2 after a 3x3 stem."""
    layers: list[nn.Module] = [*_conv(shape[0], width, 3, stem_stride), nn.ReLU(inplace=True)]
    inputs = width
    for stage in range(3):
        for block in range(depth):
            outputs = width * 2**stage
            layers.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, *_classifier(inputs, classes))


# -- MobileNets ("MobileNetV2", Sandler et al., 2018; "Searching for MobileNetV3", Howard et al., 2019) ---


class SqueezeExcite(nn.Module):
    """A gate on channels from their means, with the hard sigmoid of MobileNetV3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _multiple_of_8(channels / 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x)
        return gated


class InvertedResidual(nn.Module):
    """1x1 to a wider middle, depthwise, a gate where asked for, 1x1 back."""

    def __init__(
        self, inputs: int, outputs: int, middle: int, kernel: int, stride: int, act: type[nn.Module], se: bool
    ) -> None:
        super().__init__()
        wider = [*_conv(inputs, middle, 1), act()] if middle != inputs else []
        gate = [SqueezeExcite(middle)] if se else []
        self.body = nn.Sequential(
            *wider, *_conv(middle, middle, kernel, stride, middle), act(), *gate, *_conv(middle, outputs, 1)
        )
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return x + out if self.residual else out


def _multiple_of_8(channels: float) -> int:
    return max(8, int(channels + 4) // 8 * 8)


# Expansion, channels, blocks, stride; the strides are those that people use for CIFAR.
_V2 = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))


def mobilenet_v2(shape: Shape, classes: int, *, width: float, short: bool, stem_stride: int) -> nn.Module:
    """MobileNetV2 at a width multiplier; ``short`` has one block where the paper has several."""
    inputs = _multiple_of_8(32 * width)
    layers: list[nn.Module] = [*_conv(shape[0], inputs, 3, stem_stride), nn.ReLU6()]
    for expansion, channels, blocks, stride in _V2:
        outputs = _multiple_of_8(channels * width)
        for block in range(1 if short else blocks):
            layers.append(
                InvertedResidual(
                    inputs, outputs, inputs * expansion, 3, 1 if block else stride, nn.ReLU6, se=False
                )
            )
            inputs = outputs
    last = 4 * inputs
    return nn.Sequential(*layers, *_conv(inputs, last, 1), nn.ReLU6(), *_classifier(last, classes))


# Kernel, middle, channels, gate, hard swish, stride, whether the short network has it: V3-Small's table.
_V3 = (
    (3, 16, 16, True, False, 1, True),
    (3, 72, 24, False, False, 2, True),
    (3, 88, 24, False, False, 1, False),
    (5, 96, 40, True, True, 2, True),
    (5, 240, 40, True, True, 1, True),
    (5, 240, 40, True, True, 1, False),
    (5, 120, 48, True, True, 1, False),
    (5, 144, 48, True, True, 1, False),
    (5, 288, 96, True, True, 2, True),
    (5, 576, 96, True, True, 1, True),
    (5, 576, 96, True, True, 1, False),
)


def mobilenet_v3(shape: Shape, classes: int, *, width: float, short: bool, stem_stride: int) -> nn.Module:
    """MobileNetV3-Small at a width multiplier; ``short`` leaves out about half of its blocks."""
    inputs = _multiple_of_8(16 * width)
    layers: list[nn.Module] = [*_conv(shape[0], inputs, 3, stem_stride), nn.Hardswish()]
    for kernel, middle, channels, gate, swish, stride, in_short in _V3:
        if short and not in_short:
            continue
        outputs, act = _multiple_of_8(channels * width), nn.Hardswish if swish else nn.ReLU
        layers.append(
            InvertedResidual(inputs, outputs, _multiple_of_8(middle * width), kernel, stride, act, se=gate)
        )
        inputs = outputs
    last = 6 * inputs
    return nn.Sequential(*layers, *_conv(inputs, last, 1), nn.Hardswish(), *_classifier(last, classes))


# -- ConvNeXt ("A ConvNet for the 2020s", Liu et al., 2022) ------------------------------------------


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 and an MLP on a residual path; BatchNorm, which folds, for its LayerNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(channels, channels, 7, 1, channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def convnext(shape: Shape, classes: int, *, width: int, depth: int, patch: int) -> nn.Module:
    """A stem of patches, then three stages of ``depth`` blocks at widths w, 2w and 4w, halved between."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, patch, patch), nn.BatchNorm2d(width)]
    for stage in range(3):
        channels = width * 2**stage
        if stage:
            layers += [nn.BatchNorm2d(channels // 2), nn.Conv2d(channels // 2, channels, 2, 2)]
        layers += [ConvNeXtBlock(channels) for _ in range(depth)]
    return nn.Sequential(*layers, *_classifier(channels, classes))


# -- a uniformly scaled MetaFormer of our own blocks -----------------------------------------------


def our_metaformer(
    shape: Shape, classes: int, *, width: int, depth: int, ratio: int, stem_stride: int
) -> nn.Module:
    """Depthwise 3x3 mixers and MLPs, all of one kind: what a user has of our blocks without a search."""
    stages = [
        Stage(
            widths=(width * 2**stage,),
            depths=(depth,),
            mixers=("depthwise",),
            ratios=(ratio,),
            resolution_step=2 if stage else stem_stride,
            options={"depthwise": {"kernel": (3,)}},
        )
        for stage in range(3)
    ]
    space = metaformer("by hand", stages, classes=classes, input_shape=shape)
    return space.build(space.largest())


# -- all of them ---------------------------------------------------------------------------------------


def members(shape: Shape) -> list[Member]:
    """The members of all families that take inputs of a shape (C, H, W)."""
    return list(_members(min(shape[1:])))


def _members(side: int) -> Iterator[Member]:
    for stem in (1, 2):
        for width in (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 128):
            for depth in (1, 2, 3):
                yield Member(
                    family=f"ResNet, stem stride {stem}",
                    name=f"resnet-s{stem}-w{width}-d{depth}",
                    make=_with(resnet, width=width, depth=depth, stem_stride=stem),
                )
    for version, make in (("V2", mobilenet_v2), ("V3", mobilenet_v3)):
        for stem in (1, 2):
            for multiplier in (0.25, 0.35, 0.5, 0.75, 1.0, 1.5):
                for short in (True, False):
                    yield Member(
                        family=f"MobileNet{version}",
                        name=f"mobilenet{version.lower()}-s{stem}-x{multiplier}{'-short' if short else ''}",
                        make=_with(make, width=multiplier, short=short, stem_stride=stem),
                    )
    for patch in (1, 2, 4):
        for width in (8, 16, 24, 32, 40, 48, 64, 96) if patch * 4 <= side else ():
            for depth in (1, 2, 3):
                yield Member(
                    family="ConvNeXt",
                    name=f"convnext-p{patch}-w{width}-d{depth}",
                    make=_with(convnext, width=width, depth=depth, patch=patch),
                )
    for stem in (1, 2):
        for width in (8, 16, 24, 32, 40, 48, 64, 96):
            for depth in (1, 2, 3):
                for ratio in (2, 4):
                    yield Member(
                        family="MetaFormer of Quarry's blocks",
                        name=f"metaformer-s{stem}-w{width}-d{depth}-r{ratio}",
                        make=_with(our_metaformer, width=width, depth=depth, ratio=ratio, stem_stride=stem),
                    )


def _with(make: Callable[..., nn.Module], **sizes: float) -> Make:
    return lambda shape, classes: make(shape, classes, **sizes)
