"""Mixers that multiply positions with a matrix: learned for groups of a bounded size, or drawn."""

from search_spaces.mixers.positions.multi_axis import MultiAxisGates as MultiAxisGates
from search_spaces.mixers.positions.random_mixing import RandomMixing as RandomMixing
from search_spaces.mixers.positions.token_mlp import TokenMlp as TokenMlp
