"""Overlapping embedding: a strided convolution with a wide kernel."""

from __future__ import annotations

from search_spaces.choice import Choice
from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import ConvNorm, OddSize


class Overlapping(ConvNorm):
    """A convolution of overlapping patches and its norm; no activation.

    "CvT: Introducing Convolutions to Vision Transformers" (Wu et al., ICCV 2021), section 3.1: a kernel of 7
    at a stride of 4 first, of 3 at 2 later. The norm folds.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: pixels from one patch to the next.
        kernel: side of a patch in pixels, odd.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, kernel: OddSize) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride)


register_entry(
    StageEntry(name="overlapping", make=Overlapping, choices=(Choice("kernel", (3, 5, 7), role="kernel"),))
)
