"""RegNet's block: a grouped 3x3 convolution between two 1x1 ones, beside a shortcut."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm, groups_name


class GroupedResidual(Joined):
    """A 1x1, a grouped 3x3 and a 1x1 convolution, all of the block's width, and a shortcut.

    "Designing Network Design Spaces" (Radosavovic et al., CVPR 2020), the X block with bottleneck ratio 1;
    with the gate ``se`` nearly its Y block (section 5). The shortcut is a 1x1 convolution where the shape
    changes.

    Args:
        inputs: channels of the input.
        outputs: channels of the output, a multiple of the group width.
        stride: stride of the 3x3 convolution and of the shortcut.
        activation: name of the activation after the first two convolutions and after the sum.
        group_width: channels of a group.
        gate: gate of the 3x3 convolution's output.

    Raises:
        ValueError: a width that is no multiple of the group's.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        group_width: Annotated[int, Field(ge=1)],
        gate: GateName = "none",
    ) -> None:
        groups, rest = divmod(outputs, group_width)
        if rest:
            raise ValueError(f"grouped needs a width that is a multiple of {group_width}, got {outputs}")
        spatial = ConvNorm(outputs, outputs, 3, stride=stride, groups=groups, activation=activation)
        inner = in_a_row(
            reduce=ConvNorm(inputs, outputs, activation=activation),
            **{groups_name(group_width, groups): spatial},
            **gated(gate, outputs),
            project=ConvNorm(outputs, outputs),
        )
        super().__init__(inner, inputs, outputs, stride, project=True, activation=activation)


register_block(
    Block(
        name="grouped",
        make=GroupedResidual,
        choices=(Choice("group_width", (8,)), GATE),
        channel_multiple="group_width",
    )
)
