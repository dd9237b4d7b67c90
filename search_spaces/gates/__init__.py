"""Gates: what weighs a block's channels by the whole of its map, one small file each."""

from search_spaces.gates.compact import CompactChannelAttention as CompactChannelAttention
from search_spaces.gates.neighbours import EfficientChannelAttention as EfficientChannelAttention
from search_spaces.gates.registry import GATES as GATES
from search_spaces.gates.squeeze import SqueezeExcitation as SqueezeExcitation
from search_spaces.gates.strips import CoordinateAttention as CoordinateAttention
from search_spaces.gates.strips import EfficientLocalAttention as EfficientLocalAttention
