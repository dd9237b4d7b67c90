"""UniRepLKNet-T, and thinner and shallower networks of its kind whose blocks choose their kernel.

"UniRepLKNet: A Universal Perception Large-Kernel ConvNet" (Ding et al., CVPR 2024), table 3: 31 M parameters
and 4.9 G multiply-accumulates. No space was published; here stages choose width and depth, blocks kernel and
ratio. In the base network the kernels are 3 in the first stage, 13 in the second and last, and 13 and 3 in
turn in the third.

What differs: BatchNorms that fold, for the scale of the residual path; no global response normalisation in
the MLP, as it looks at all channels; kernels of 3 have no branches there either.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

TINY = ((80, (3,) * 3), (160, (13,) * 3), (320, (13, 3) * 9), (640, (13,) * 3))
"""Width, and kernel of each block, of each stage of UniRepLKNet-T."""


def _stage(index: int) -> ConvStage:
    width, kernels = TINY[index]
    depth = len(kernels)
    own = {"kernel": (3, 7, 13) if index else (3, 7), "ratio": (2, 4), "dilated": True, "gate": "se"}
    return ConvStage(
        widths=(width // 2, width),
        depths=tuple(range(depth // 3, depth + 1, depth // 3)),
        blocks=("convnext",),
        stride=2 if index else 1,
        options={"convnext": own},
        alike=False,
    )


def _tiny() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 4}
    for index, (width, kernels) in enumerate(TINY):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": len(kernels)}
        arch[f"stage{index}.block"] = "convnext"
        for number, kernel in enumerate(kernels):
            own = f"stage{index}.block{number}.convnext"
            arch |= {f"{own}.kernel": kernel, f"{own}.ratio": 4}
    return arch


UNIREPLKNET = Published(
    space=ConvNet(
        stages=tuple(_stage(index) for index in range(len(TINY))),
        stem="deep",
        stem_options={"layers": 2, "pool": False},
        stem_strides=(4,),
        activation="gelu",
    ),
    base=_tiny(),
    parameters=31e6,
    macs=4.9e9,
)
