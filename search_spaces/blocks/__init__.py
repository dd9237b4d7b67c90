"""Blocks: the units of convolutional stages, one small file each."""

from search_spaces.blocks.bottleneck import Bottleneck as Bottleneck
from search_spaces.blocks.convmixer import ConvMixer as ConvMixer
from search_spaces.blocks.convnext import ConvNext as ConvNext
from search_spaces.blocks.dense import Dense as Dense
from search_spaces.blocks.fused_mbconv import FusedInvertedResidual as FusedInvertedResidual
from search_spaces.blocks.grouped import GroupedResidual as GroupedResidual
from search_spaces.blocks.inception_resnet import InceptionResidual as InceptionResidual
from search_spaces.blocks.maxvit import MaxVit as MaxVit
from search_spaces.blocks.mbconv import InvertedResidual as InvertedResidual
from search_spaces.blocks.mbconv_experts import ExpertResidual as ExpertResidual
from search_spaces.blocks.moat import Moat as Moat
from search_spaces.blocks.next_vit import NextConvolution as NextConvolution
from search_spaces.blocks.next_vit import NextTransformer as NextTransformer
from search_spaces.blocks.osa import OneShot as OneShot
from search_spaces.blocks.pick_or_mix import PickOrMixResidual as PickOrMixResidual
from search_spaces.blocks.plain import Plain as Plain
from search_spaces.blocks.registry import BLOCKS as BLOCKS
from search_spaces.blocks.registry import Block as Block
from search_spaces.blocks.registry import block as block
from search_spaces.blocks.registry import block_names as block_names
from search_spaces.blocks.registry import block_problems as block_problems
from search_spaces.blocks.registry import register_block as register_block
from search_spaces.blocks.residual import BasicResidual as BasicResidual
from search_spaces.blocks.uniformer import UniFormerGlobal as UniFormerGlobal
from search_spaces.blocks.uniformer import UniFormerLocal as UniFormerLocal
from search_spaces.blocks.xception import SeparableResidual as SeparableResidual
