"""The sections of a recipe for ranking networks without shared weights: every key with its effect."""

from __future__ import annotations

from pydantic import Field

from runners.recipe.part import Part
from runners.recipe.section import Section


class Race(Section):
    """The successive halving of networks that are trained alone, with ``search.ranking = "alone"``.

    The best are trained to the end, for ``train.epochs``. Where a run is given ``minutes``, these say how
    many networks are tried and how long the last ones are trained.
    """

    networks: int = Field(default=12, ge=1)
    """Networks that are tried, of those that use the limit."""
    epochs: int = Field(default=1, ge=1)
    """Epochs of each in the first round; every further round has ``keep`` times as many."""
    keep: int = Field(default=6, ge=2)
    """Networks of which one goes on to the next round."""
    finalists: int = Field(default=2, ge=1)
    """Networks that are trained to the end, at most as many as ``search.workers``."""
    sieve: tuple[Part, ...] = ()
    """Zero-cost proxies whose mean rank orders the networks of a family before the first round, such as
    ``["synflow", "naswot"]``; empty takes those with most multiply-accumulates first."""


class Blockwise(Section):
    """The learning block by block, with ``search.ranking = "blockwise"``.

    The networks that it ranks first are trained alone like those of a ``race``, from its second round on.
    Where a run is given ``minutes``, these say how long all is trained.
    """

    epochs: int = Field(default=8, ge=1)
    """Epochs of the network whose blocks are learned from: the largest of at most four times the limit."""
    block_epochs: int = Field(default=2, ge=1)
    """Epochs in which all that can stand in a place learns what the teacher's block does there."""
    networks: int = Field(default=6, ge=1)
    """Networks with the least error under the limit that are trained alone."""
