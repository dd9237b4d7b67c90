"""Gates: what weighs a block's channels by the whole of its map, one small file each."""

from search_spaces.gates.neighbours import EfficientChannelAttention as EfficientChannelAttention
from search_spaces.gates.registry import GATES as GATES
from search_spaces.gates.squeeze import SqueezeExcitation as SqueezeExcitation
