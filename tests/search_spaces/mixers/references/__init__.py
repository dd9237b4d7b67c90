"""Every mixer written from its formula, in float64, on the weights of a mixer; a file for each family.

A file holds ``REFERENCES``: by a mixer's name, a function of the input (B, C, H, W), the weights by their
qualified names and the values of its choices by name. It shares no code with the mixer: loops over
positions, or plain sums."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping

from torch import Tensor

from search_spaces.choice import Value

Weights = Mapping[str, Tensor]
Reference = Callable[[Tensor, Weights, Mapping[str, Value]], Tensor]

REFERENCES: dict[str, Reference] = {}
for _module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
    if _module != "basis":
        REFERENCES |= importlib.import_module(f"{__name__}.{_module}").REFERENCES
