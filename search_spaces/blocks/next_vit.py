"""Next-ViT's blocks: a grouped convolution in the place of attention, and attention with it beside."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.blocks.joined import in_a_row
from search_spaces.blocks.metaformer import RATIO
from search_spaces.blocks.registry import Block, register_block
from search_spaces.entries.pooled import Pooled
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, heads_of
from search_spaces.mixers.attention.reduced import REDUCTION, PooledKeys, Times, acting
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm, Mlp, PositiveRatio, Residual, groups_name

HEADS_EACH = (3, 1)
"""Heads of attention and of convolution in a round: its mix ratio of three quarters."""


def conv_attention(channels: int, head_channels: int, activation: str, name: str) -> nn.Module:
    """x plus a grouped 3x3 and a 1x1 convolution, a group for each head (MHCA, section 3.2).

    Raises:
        ValueError: a width that is no multiple of the head's.
    """
    groups = heads_of(channels, head_channels, name)
    grouped = ConvNorm(channels, channels, 3, groups=groups, activation=activation)
    named = {groups_name(head_channels, groups): grouped}
    return Residual(in_a_row(**named, project=ConvNorm(channels, channels)))


class NextConvolution(nn.Sequential):
    """x plus a grouped 3x3 and a 1x1 convolution, then x plus an MLP.

    "Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios"
    (Li et al., 2022), section 3.2, with heads of 16 channels where it has 32. Norms follow the convolutions.

    Args:
        inputs: channels of the block; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation.
        ratio: hidden channels of the MLP over ``inputs``; the paper has 3.
        head_channels: channels of a group.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002  the same as the inputs
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        ratio: PositiveRatio,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        self.local = conv_attention(inputs, head_channels, activation, "ncb")
        self.mlp = Residual(Mlp(inputs, ratio, activation))


class NextTransformer(nn.Module):
    """Attention with few keys, a grouped convolution of what it gives, both side by side, then x plus an MLP.

    The same paper, section 3.3 and figure 4. There the two have three quarters and one quarter of the width;
    here three heads and one in turn, as whose a channel is may not depend on the width. Up to three heads,
    attention is alone. Keys and values are averages of squares of the map. Averages and a 1x1 convolution
    change the shape before it, where it changes.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: side of the squares that are averaged at first.
        activation: name of the activation.
        reduction: side of a square of keys, in positions.
        ratio: hidden channels of the MLP over ``outputs``; the paper has 2.
        head_channels: channels of a head, and of a group.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        reduction: Times,
        ratio: PositiveRatio,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads_of(outputs, head_channels, "ntb")
        self.deal = Deal(tuple(heads * head_channels for heads in HEADS_EACH), outputs)
        attended, convolved = self.deal.counts
        same = inputs == attended and stride == 1
        self.enter = nn.Identity() if same else Pooled(inputs, attended, stride=stride)
        self.attention = Residual(PooledKeys(attended, reduction=reduction, head_channels=head_channels))
        self.pass_on = ConvNorm(attended, convolved) if convolved else None
        self.local = conv_attention(convolved, head_channels, activation, "ntb") if convolved else None
        self.mlp = Residual(Mlp(outputs, ratio, activation))

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attention(self.enter(x))
        if self.local is not None and self.pass_on is not None:
            attended = self.deal.join([attended, self.local(self.pass_on(attended))])
        result: Tensor = self.mlp(attended)
        return result


register_block(
    Block(name="ncb", make=NextConvolution, choices=(RATIO,), channel_multiple="head_channels", entered=True)
)
register_block(
    Block(
        name="ntb",
        make=NextTransformer,
        choices=(REDUCTION, RATIO),
        channel_multiple="head_channels",
        acting=acting,
    )
)
