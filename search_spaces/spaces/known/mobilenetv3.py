"""MobileNetV3-Large, and the space of Once-for-All around it.

"Searching for MobileNetV3" (Howard et al., ICCV 2019), table 1, for the network: 5.4 M parameters and 219 M
multiply-accumulates (table 3). "Once-for-All: Train One Network and Specialize it for Efficient Deployment"
(Cai et al., ICLR 2020) for the space: every block chooses its kernel among 3, 5 and 7 and its
expansion among 3, 4 and 6, every stage 2 to 4 blocks, at the published widths.

What differs: the base network's expansions that are not among those (2.5 and 2.3 in the stage of 80
channels) are values of that stage too; squeeze and excitation has exactly a quarter of the channels between,
not rounded to multiples of eight; the resolution is that of the data and no choice of the space.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)


def _stage(
    width: int, stride: int, gate: str, activation: str = "", expansions: tuple[float, ...] = EXPANSIONS
) -> ConvStage:
    options = {"mbconv": {"kernel": KERNELS, "expansion": expansions, "gate": (gate,)}}
    return ConvStage(
        widths=(width,),
        depths=(2, 3, 4),
        blocks=("mbconv",),
        stride=stride,
        options=options,
        alike=False,
        activation=activation,
    )


SPACE = ConvNet(
    stages=(
        ConvStage(
            widths=(16,),
            depths=(1,),
            blocks=("mbconv",),
            stride=1,
            options={"mbconv": {"kernel": (3,), "expansion": (1,), "gate": ("none",)}},
            activation="relu",
        ),
        _stage(24, 2, "none", "relu"),
        _stage(40, 2, "se", "relu"),
        _stage(80, 2, "none", expansions=(2.3, 2.5, *EXPANSIONS)),
        _stage(112, 1, "se"),
        _stage(160, 2, "se"),
    ),
    stem_strides=(2,),
    last_width=960,
    hidden_width=1280,
    activation="hardswish",
)

LARGE: tuple[tuple[int, int, tuple[float, ...]], ...] = (
    (24, 3, (4, 3)),
    (40, 5, (3, 3, 3)),
    (80, 3, (6, 2.5, 2.3, 2.3)),
    (112, 3, (6, 6)),
    (160, 5, (6, 6, 6)),
)
"""Width, kernel and the expansion of each block: stages of MobileNetV3-Large after the first."""


def _large() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    arch |= {"stage0.width": 16, "stage0.depth": 1, "stage0.block": "mbconv"}
    for index, (width, kernel, expansions) in enumerate(LARGE, start=1):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": len(expansions)}
        arch[f"stage{index}.block"] = "mbconv"
        for number, expansion in enumerate(expansions):
            arch[f"stage{index}.block{number}.mbconv.kernel"] = kernel
            arch[f"stage{index}.block{number}.mbconv.expansion"] = expansion
    return arch


MOBILENETV3 = Published(space=SPACE, base=_large(), parameters=5.4e6, macs=219e6)
