"""ResNet-50D, and the space of Once-for-All around it.

"Bag of Tricks for Image Classification with Convolutional Neural Networks" (He et al., CVPR 2019), section 4,
for the network: 25.58 M parameters and 4.35 G multiply-accumulates as timm publishes it (resnet50d).
"Once-for-All: Train One Network and Specialize it for Efficient Deployment" (Cai et al., ICLR 2020), its
published ResNet-50 space: stages choose width (0.65, 0.8, 1) and depth (two less to full), every block the
ratio of its bottleneck (0.2, 0.25, 0.35).

What differs: Once-for-All's stem, whose depth is a choice, is ResNet-D's with three convolutions; widths of
a half and three quarters stand for 0.65 and 0.8.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

RESNET50 = ((256, 3), (512, 4), (1024, 6), (2048, 3))
"""Width and number of blocks of each stage of ResNet-50."""


def _stage(index: int) -> ConvStage:
    width, depth = RESNET50[index]
    return ConvStage(
        widths=(width // 2, width * 3 // 4, width),
        depths=tuple(range(depth - 2, depth + 1)),
        blocks=("bottleneck",),
        stride=2 if index else 1,
        options={"bottleneck": {"ratio": (0.2, 0.25, 0.35), "gate": ("none",)}},
        alike=False,
    )


def _base() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 4}
    for index, (width, depth) in enumerate(RESNET50):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        arch[f"stage{index}.block"] = "bottleneck"
        for number in range(depth):
            arch[f"stage{index}.block{number}.bottleneck.ratio"] = 0.25
    return arch


RESNET50D = Published(
    space=ConvNet(
        stages=tuple(_stage(index) for index in range(len(RESNET50))),
        stem="deep",
        stem_strides=(4,),
        stem_width=64,
        activation="relu",
    ),
    base=_base(),
    parameters=25.58e6,
    macs=4.35e9,
)
