"""Attention's own choices, each a small part: the partition of the map, weights, bias of position, keys."""

from search_spaces.mixers.attention.factorized import FactorizedAttention as FactorizedAttention
from search_spaces.mixers.attention.fused import FusedTokens as FusedTokens
from search_spaces.mixers.attention.head_tokens import HeadTokens as HeadTokens
from search_spaces.mixers.attention.inception import InceptionAttention as InceptionAttention
from search_spaces.mixers.attention.linear import LinearAttention as LinearAttention
from search_spaces.mixers.attention.multi_head import MultiHead as MultiHead
from search_spaces.mixers.attention.neighbourhood import Neighbourhood as Neighbourhood
from search_spaces.mixers.attention.reduced import PooledKeys as PooledKeys
from search_spaces.mixers.attention.region import Regional as Regional
from search_spaces.mixers.attention.slots import GLMix as GLMix
from search_spaces.mixers.attention.span import SpanAttention as SpanAttention
from search_spaces.mixers.attention.whole import Attention as Attention
from search_spaces.mixers.attention.window import window_attention as window_attention
