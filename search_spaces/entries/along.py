"""A strided convolution along the rows alone: the entry of signals."""

from __future__ import annotations

from search_spaces.choice import Choice
from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import ConvNorm, OddSize


class Along(ConvNorm):
    """A convolution of 1 x kernel, its norm and activation.

    The usual start of networks on time series (InceptionTime, Fawaz et al., 2020). On a signal, a map of one
    row, a kernel of 3x3 would have two rows of weights that see nothing. Rows of larger maps are passed over
    as the stride says.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: positions of the input for one of the output.
        activation: name of the activation after the norm.
        kernel: positions of the kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, activation: str, kernel: OddSize) -> None:
        super().__init__(inputs, outputs, (1, kernel), stride=stride, activation=activation)


register_entry(StageEntry(name="along", make=Along, choices=(Choice("kernel", (3, 5, 7), role="kernel"),)))
