"""Mixers whose kernels follow from what they are given: from an image, a position, or both."""

from search_spaces.mixers.dynamic.condconv import CondConv as CondConv
from search_spaces.mixers.dynamic.contmix import ContextMixing as ContextMixing
from search_spaces.mixers.dynamic.deformable import Deformable as Deformable
from search_spaces.mixers.dynamic.fdconv import FrequencyDynamic as FrequencyDynamic
from search_spaces.mixers.dynamic.involution import Involution as Involution
from search_spaces.mixers.dynamic.lsconv import LargeSmall as LargeSmall
from search_spaces.mixers.dynamic.tvconv import TranslationVariant as TranslationVariant
