"""ConvNeXt-T, and thinner and shallower networks of its kind.

"A ConvNet for the 2020s" (Liu et al., CVPR 2022), table 1: 29 M parameters, 28.6 M as torchvision publishes
it, and 4.5 G multiply-accumulates. No space was published; here stages choose width, depth, kernel and ratio.

What differs: BatchNorms that fold stand after the convolutions in the place of LayerNorm and of the scale of
the residual path, and the stem is a 3x3 convolution of stride 4, not a patch of 4x4.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

TINY = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Width and number of blocks of each stage of ConvNeXt-T."""


def _stage(index: int) -> ConvStage:
    width, depth = TINY[index]
    return ConvStage(
        widths=(width // 2, width * 3 // 4, width),
        depths=tuple(range(depth // 3, depth + 1, depth // 3)),
        blocks=("convnext",),
        stride=2 if index else 1,
        entries=("patch",),
        options={"convnext": {"kernel": (3, 5, 7), "ratio": (2, 4)}},
    )


def _tiny() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 4}
    for index, (width, depth) in enumerate(TINY):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        arch |= {f"stage{index}.block": "convnext", f"stage{index}.convnext.kernel": 7}
        arch[f"stage{index}.convnext.ratio"] = 4
    return arch


CONVNEXT = Published(
    space=ConvNet(
        stages=tuple(_stage(index) for index in range(len(TINY))), stem_strides=(4,), activation="gelu"
    ),
    base=_tiny(),
    parameters=28.6e6,
    macs=4.5e9,
)
