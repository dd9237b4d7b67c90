"""Pruning: channels are cut, then the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.pruning.channels import Cut
from compress.pruning.importance import CriterionSpec
from compress.pruning.prune import COUNTS, prune
from compress.steps.registry import STEPS
from compress.steps.several import each

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
_LISTED = 3


@STEPS.register("prune")
@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Cut of whole channels, then fine-tuning; kept if the file is faster and accurate enough.

    Attributes:
        keep: Share of the channels to keep, in (0, 1), or several, each of which is tried at the price of a
            fine-tuning.
        counts: Channel counts that are allowed: multiples of this, or one of these.
        importance: Criterion that ranks the channels, by name, or as a table of ``kind`` and its settings.
        across_layers: Whether layers may lose different shares: channels of all groups are ranked together.
        ignore: Names of layers, or of modules that hold them, whose output channels stay.
    """

    for_speed: ClassVar[bool] = True
    keep: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = 0.75
    counts: Count | Annotated[tuple[Count, ...], Field(min_length=1)] = COUNTS
    importance: CriterionSpec = "l2"
    across_layers: bool = False
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each share to keep.

        Raises:
            ValueError: nothing can be cut, or every share fails: the criterion reads
                gradients and there is no loss.
        """
        shares = self.keep if isinstance(self.keep, tuple) else (self.keep,)
        refused: dict[str, str] = {}  # reasons by the group's leading layer
        made: list[tuple[Cut, ...]] = []

        def of(share: float) -> Candidate | None:
            pruned = prune(
                current.network,
                context.example,
                keep=share,
                counts=self.counts,
                importance=self.importance,
                across_layers=self.across_layers,
                loss=context.loss,
                ignore=self.ignore,
                seed=context.seed,
            )
            refused.update((group.root, group.reason) for group in pruned.refused)
            cuts = (*current.cuts, *pruned.cuts)
            if not pruned.cuts or cuts in made:
                return None
            network = context.finetune(pruned.network, seed=context.seed)
            file = context.file(folder, f"keep_{share:g}")
            context.export(network, file)
            made.append(cuts)
            return Candidate(network=network, file=file, cuts=cuts, label=f"{share:.0%} of the channels")

        candidates = each({f"{share:.6g} of the channels": partial(of, share) for share in shares})
        if not candidates:
            raise ValueError(
                f"no group of channels has a smaller allowed count (allowed: {self._allowed()}) near "
                f"{' or '.join(f'{share:.0%}' for share in shares)} of what it has{_left_alone(refused)}"
            )
        return candidates

    def _allowed(self) -> str:
        return f"multiples of {self.counts}" if isinstance(self.counts, int) else f"one of {self.counts}"


def _left_alone(refused: dict[str, str]) -> str:
    """The first groups that cannot be cut at all, with the reasons."""
    if not refused:
        return ""
    listed = "; ".join(f"{root}: {reason}" for root, reason in list(refused.items())[:_LISTED])
    return f"; {len(refused)} that cannot be cut ({listed})"
