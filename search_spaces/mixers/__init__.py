"""Token mixers: the half of a block that moves information between positions, one small file each."""

from search_spaces.mixers.attention import Attention
from search_spaces.mixers.depthwise import Depthwise
from search_spaces.mixers.pooling import Pooling
from search_spaces.mixers.registry import MIXERS, Mixer, mixer, register_mixer

__all__ = ["MIXERS", "Attention", "Depthwise", "Mixer", "Pooling", "mixer", "register_mixer"]
