"""MaxViT-T and MOAT-0: inverted residuals with attention in windows, and spaces around them.

"MaxViT: Multi-Axis Vision Transformer" (Tu et al., ECCV 2022), table 2: 31 M parameters and 5.6 G
multiply-accumulates. "MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models" (Yang
et al., ICLR 2023), table 3: 27.8 M and 5.7 G. No spaces were published; here stages choose width, depth,
expansion and ratio, and the window.

What differs: norms follow the convolutions; positions are known by the bias of Swin V2; an inverted residual
that changes the shape has no shortcut. MOAT's attention of 14x14 positions is a window as large as the map.
"""

from __future__ import annotations

from search_spaces.operations.operation import Options
from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

MAXVIT_T = ((64, 2), (128, 2), (256, 5), (512, 2))
"""Width and number of blocks of each stage of MaxViT-T."""

MOAT_0 = ((96, 2, "mbconv"), (192, 3, "mbconv"), (384, 7, "moat"), (768, 2, "moat"))
"""Width, number and kind of blocks of each stage of MOAT-0."""

HEAD = 32
STEM = {"layers": 2, "share": 1.0}


def _maxvit_stage(width: int, depth: int) -> ConvStage:
    own = {"expansion": (2, 4), "window": (7,), "ratio": (2, 4), "head_channels": HEAD, "gate": "se_16"}
    return ConvStage(
        widths=(width // 2, width),
        depths=tuple(range(1, depth + 1)),
        blocks=("maxvit",),
        options={"maxvit": own},
    )


def _moat_stage(index: int) -> ConvStage:
    width, depth, block = MOAT_0[index]
    known: Options = {
        # Widening, its expansion is of the outputs: here of the inputs, so that it is another number there.
        "mbconv": {"kernel": (3, 5), "expansion": (2, 4, 8 if index else 6), "gate": ("se_16",)},
        "moat": {"expansion": (2, 4), "window": (7, 14), "head_channels": HEAD},
    }
    return ConvStage(
        widths=(width * 2 // 3, width),
        depths=tuple(range(max(1, depth - 2), depth + 1)),
        blocks=(block,),
        options={block: known[block]},
        alike=block != "mbconv",
    )


def _maxvit_t() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    for index, (width, depth) in enumerate(MAXVIT_T):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": "maxvit"}
        arch |= {f"stage{index}.maxvit.expansion": 4, f"stage{index}.maxvit.ratio": 4}
    return arch


def _moat_0() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    for index, (width, depth, block) in enumerate(MOAT_0):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": block}
        if block == "moat":
            arch |= {f"stage{index}.moat.expansion": 4, f"stage{index}.moat.window": 14}
            continue
        for number in range(depth):
            own = f"stage{index}.block{number}.mbconv"
            arch |= {f"{own}.kernel": 3, f"{own}.expansion": 4 if number else 8 if index else 6}
    return arch


MAXVIT = Published(
    space=ConvNet(
        stages=tuple(_maxvit_stage(*stage) for stage in MAXVIT_T),
        stem="deep",
        stem_options=STEM,
        stem_strides=(2,),
        stem_width=64,
        hidden_width=512,
        activation="gelu",
    ),
    base=_maxvit_t(),
    parameters=31e6,
    macs=5.6e9,
)
MOAT = Published(
    space=ConvNet(
        stages=tuple(_moat_stage(index) for index in range(len(MOAT_0))),
        stem="deep",
        stem_options=STEM,
        stem_strides=(2,),
        stem_width=64,
        activation="gelu",
    ),
    base=_moat_0(),
    parameters=27.8e6,
    macs=5.7e9,
)
