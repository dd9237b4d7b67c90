"""VGG's unit: one dense 3x3 convolution and nothing beside it."""

from __future__ import annotations

from search_spaces.blocks.registry import Block, register_block
from search_spaces.parts import ConvNorm


class Plain(ConvNorm):
    """One dense 3x3 convolution with its norm and activation.

    "Very Deep Convolutional Networks for Large-Scale Image Recognition" (Simonyan and Zisserman, ICLR 2015),
    section 2.1, with a norm. Without a shortcut there is no sum and no projection to run, which take much of
    the time of small networks in int8, where operators cost more than their arithmetic (RepVGG, Ding et al.,
    CVPR 2021, section 3.1, is after the same). Networks of some ten such layers train without the branches
    that RepVGG adds for deep ones.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the convolution.
        activation: name of the activation after the norm.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, activation: str) -> None:
        super().__init__(inputs, outputs, 3, stride=stride, activation=activation)


register_block(Block(name="plain", make=Plain))
