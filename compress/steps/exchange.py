"""Exchange: operators give way to cheaper ones that learn from them, then the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from compress.candidate import Candidate, Context
from compress.steps.registry import STEPS
from compress.steps.several import each
from compress.swaps import SWAPS, Swap, swapped
from compress.swaps.learn import learn

Kind = str | dict[str, str | int]


@STEPS.register("exchange")
@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Operators that give way to cheaper ones, each of which learns from the one it stands for; then
    fine-tuning. Kept if the file is faster and accurate enough.

    Attributes:
        operators: Kinds of exchange, each tried by itself: ``separable`` (a column and a row for a depthwise
            kernel; ``{ kind = "separable", rank = 2 }``), ``narrow`` (a smaller kernel; ``side``),
            ``batch_norm`` (a BatchNorm for a LayerNorm).
        largest_error: Error of an operator, squared over the variance, above which it stays what it is.
        passes: Passes over the images of the calibration in which the operators learn.
    """

    for_speed: ClassVar[bool] = True
    operators: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("separable", "narrow", "batch_norm")
    largest_error: Annotated[float, Field(gt=0)] = 0.3
    passes: Annotated[int, Field(ge=0)] = 30

    def __post_init__(self) -> None:
        for one in self.operators:
            kind, settings = _named(one)
            SWAPS.configured(kind, settings)

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each kind of exchange.

        Raises:
            ValueError: nothing can be exchanged, or not without too large an error.
        """
        found = each(
            {_words(one): partial(self._of, one, current, context, folder) for one in self.operators}
        )
        if not found:
            raise ValueError(f"no operator gives way to {' or '.join(map(_words, self.operators))}")
        return found

    def _of(self, operator: Kind, current: Candidate, context: Context, folder: Path) -> Candidate | None:
        kind, settings = _named(operator)
        make = SWAPS.configured(kind, settings)
        old = dict(current.network.named_modules(remove_duplicate=False))
        shared = {
            id(module) for name, module in old.items() if sum(one is module for one in old.values()) > 1
        }
        fitting = {name: make(module) for name, module in old.items() if name and id(module) not in shared}
        students = {name: module for name, module in fitting.items() if module is not None}
        if not students:
            return None
        images = torch.from_numpy(context.calibration)
        errors = learn(current.network, students, images, passes=self.passes, seed=context.seed)
        kept = [name for name in students if errors[name] <= self.largest_error]
        if not kept:
            raise ValueError(
                f"the least error of {len(students)} operators is {min(errors.values()):.2f}, over "
                f"{self.largest_error:g}"
            )
        swaps = tuple(Swap(module=name, kind=kind, settings=settings) for name in kept)
        network = swapped(current.network, swaps)
        for name in kept:
            network.get_submodule(name).load_state_dict(students[name].state_dict())
        network = context.finetune(network, seed=context.seed)
        file = context.file(folder, _words(operator).replace(" ", "_"))
        label = f"{len(kept)} of {len(students)} operators by {_words(operator)}"
        return context.exported(current, network, file, swaps=swaps, label=label)


def _named(operator: Kind) -> tuple[str, dict[str, Any]]:
    if isinstance(operator, str):
        return operator, {}
    settings = {name: value for name, value in operator.items() if name != "kind"}
    return str(operator.get("kind", "")), settings


def _words(operator: Kind) -> str:
    kind, settings = _named(operator)
    return " ".join([kind, *(f"{name} {value}" for name, value in settings.items())])
