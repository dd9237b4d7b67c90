"""Space to depth: pixels become channels, then a convolution without a stride."""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.nn.functional import pixel_unshuffle

from search_spaces.choice import Choice
from search_spaces.entries.registry import StageEntry, filled, register_entry
from search_spaces.parts import ConvNorm, OddSize

fx.wrap("filled")  # whoever folds norms traces without sizes, and compares none


class SpaceToDepth(nn.Module):
    """Every pixel of a patch as channels of its own, and a convolution of them.

    "No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution Images and Small
    Objects" (Sunkara and Luo, ECML PKDD 2022), section 3. Sides that are no multiple of the stride are filled
    with zeros.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: side of a patch in pixels.
        activation: name of the activation after the norm.
        kernel: side of the kernel, in patches, odd.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, activation: str, kernel: OddSize) -> None:
        super().__init__()
        self.stride = stride
        # An input channel's pixels stand side by side, so fewer channels are the leading ones of more.
        self.conv = ConvNorm(inputs * stride**2, outputs, kernel, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(pixel_unshuffle(filled(x, self.stride), self.stride))
        return result


register_entry(StageEntry(name="spd", make=SpaceToDepth, choices=(Choice("kernel", (1, 3), role="kernel"),)))
