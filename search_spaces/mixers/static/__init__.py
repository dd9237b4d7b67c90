"""Mixers with kernels that are the same for every input: convolutions of many forms, and shifts."""

from search_spaces.mixers.static.density import DensityConv as DensityConv
from search_spaces.mixers.static.factorized import Factorized as Factorized
from search_spaces.mixers.static.gated import RecursiveGates as RecursiveGates
from search_spaces.mixers.static.grouped import GroupedConv as GroupedConv
from search_spaces.mixers.static.inception import InceptionDepthwise as InceptionDepthwise
from search_spaces.mixers.static.large_kernel import LargeKernel as LargeKernel
from search_spaces.mixers.static.mix_shift import MixShift as MixShift
from search_spaces.mixers.static.omni_scale import OmniScale as OmniScale
from search_spaces.mixers.static.random_conv import RandomConv as RandomConv
from search_spaces.mixers.static.recursive import RecursiveConv as RecursiveConv
from search_spaces.mixers.static.selective import SelectiveKernel as SelectiveKernel
from search_spaces.mixers.static.separable import SeparableConv as SeparableConv
from search_spaces.mixers.static.shift import Shift as Shift
from search_spaces.mixers.static.spatial_bottleneck import SpatialBottleneck as SpatialBottleneck
