"""Mixers of sequences: signals (B, C, 1, L), or the positions of a map one row after another."""

from search_spaces.mixers.sequence.ckconv import CkConv as CkConv
from search_spaces.mixers.sequence.dilated import Dilated as Dilated
from search_spaces.mixers.sequence.long_conv import LongConv as LongConv
from search_spaces.mixers.sequence.multires import MultiresConv as MultiresConv
from search_spaces.mixers.sequence.orchid import Orchid as Orchid
from search_spaces.mixers.sequence.selective_scan import SelectiveScan as SelectiveScan
from search_spaces.mixers.sequence.sgconv import SgConv as SgConv
from search_spaces.mixers.sequence.spectral import SpectralUnit as SpectralUnit
from search_spaces.mixers.sequence.state_space import StateSpace as StateSpace
