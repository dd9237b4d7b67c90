"""Norms that stand before a mixer or a channel mixer, one small file each."""

from search_spaces.norms.instance_batch import InstanceBatchNorm as InstanceBatchNorm
from search_spaces.norms.layer import LayerNorm as LayerNorm
from search_spaces.norms.registry import FOLDED as FOLDED
from search_spaces.norms.registry import NORMS as NORMS
from search_spaces.norms.registry import Norm as Norm
from search_spaces.norms.registry import norm_names as norm_names
from search_spaces.norms.registry import normed as normed
from search_spaces.norms.tanh import DynamicTanh as DynamicTanh
