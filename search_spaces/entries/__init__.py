"""Entries: what starts a stage and changes resolution and width, one small file each."""

from search_spaces.entries.along import Along as Along
from search_spaces.entries.deep import DeepStem as DeepStem
from search_spaces.entries.multi_patch import MultiPatch as MultiPatch
from search_spaces.entries.overlapping import Overlapping as Overlapping
from search_spaces.entries.patch import PatchMerging as PatchMerging
from search_spaces.entries.pooled import Pooled as Pooled
from search_spaces.entries.positioned import PositionedPatch as PositionedPatch
from search_spaces.entries.registry import ENTRIES as ENTRIES
from search_spaces.entries.registry import StageEntry as StageEntry
from search_spaces.entries.registry import register_entry as register_entry
from search_spaces.entries.residual_reduction import ResidualReduction as ResidualReduction
from search_spaces.entries.space_to_depth import SpaceToDepth as SpaceToDepth
