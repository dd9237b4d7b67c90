"""Depthwise convolutions whose kernels are functions, of coordinates or of a few points; deployed,
plain."""

from search_spaces.mixers.generated.flexconv import FlexConv as FlexConv
from search_spaces.mixers.generated.hyperzzw import HyperZzw as HyperZzw
from search_spaces.mixers.generated.smpconv import MovingPoints as MovingPoints
