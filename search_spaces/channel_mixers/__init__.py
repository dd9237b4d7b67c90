"""Channel mixers: the half of a block that works on each position alone or nearly so, a small file each."""

from search_spaces.channel_mixers.experts import MixedExperts as MixedExperts
from search_spaces.channel_mixers.gated import GatedLinear as GatedLinear
from search_spaces.channel_mixers.low_rank import LowRankMlp as LowRankMlp
from search_spaces.channel_mixers.registry import CHANNEL_MIXERS as CHANNEL_MIXERS
from search_spaces.channel_mixers.registry import ChannelMixer as ChannelMixer
from search_spaces.channel_mixers.registry import register_channel_mixer as register_channel_mixer
from search_spaces.channel_mixers.sparse import SparseMlp as SparseMlp
from search_spaces.channel_mixers.spatial import SpatialMlp as SpatialMlp
