"""The inverted residual with several kernels in every place, mixed for each image."""

from __future__ import annotations

from torch import nn

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.mixers.dynamic.experts import ExpertConvNorm, Experts
from search_spaces.parts import ConvNorm, OddSize, PositiveRatio


class ExpertResidual(Joined):
    """An inverted residual whose three convolutions are mixtures of ``experts`` kernels for each image.

    "ParameterNet: Parameters Are All You Need for Large-scale Visual Pretraining of Mobile Networks" (Han et
    al., CVPR 2024), section 3.3: parameters grow with the experts and multiply-accumulates hardly, which pays
    with much data. Its network is GhostNet's; the same on MobileNet's block, as here, is "CondConv:
    Conditionally Parameterized Convolutions for Efficient Inference" (Yang et al., NeurIPS 2019). One expert
    is a plain inverted residual.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the depthwise convolution.
        activation: name of the activation after the first two convolutions.
        kernel: side of the depthwise kernel in pixels, odd.
        expansion: channels inside over ``inputs``.
        experts: kernels of each convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        kernel: OddSize,
        expansion: PositiveRatio,
        experts: Experts,
    ) -> None:
        hidden = round(inputs * expansion)
        parts: dict[str, nn.Module] = {}
        if hidden != inputs:
            parts |= _convolution("expand", inputs, hidden, 1, activation=activation, experts=experts)
        parts |= _convolution(
            "depthwise", hidden, hidden, kernel, stride=stride, activation=activation, experts=experts
        )
        parts |= _convolution("project", hidden, outputs, 1, experts=experts)
        super().__init__(in_a_row(**parts), inputs, outputs, stride)


def _convolution(
    name: str,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    activation: str = "",
    experts: int,
) -> dict[str, nn.Module]:
    """A convolution by its name; a plain one shares no weights with a mixed one."""
    depthwise = name == "depthwise"
    if experts == 1:
        groups = inputs if depthwise else 1
        return {name: ConvNorm(inputs, outputs, kernel, stride=stride, groups=groups, activation=activation)}
    mixed = ExpertConvNorm(
        inputs, outputs, kernel, stride=stride, depthwise=depthwise, activation=activation, experts=experts
    )
    return {f"{name}_experts": mixed}


register_block(
    Block(
        name="mbconv_experts",
        make=ExpertResidual,
        choices=(
            Choice("kernel", (3, 5), role="kernel"),
            Choice("expansion", (2, 4)),
            Choice("experts", (1, 4)),
        ),
    )
)
