"""The training rules by name. A rule's settings are its keyword-only parameters; a recipe may set each."""

from __future__ import annotations

from collections.abc import Callable

from nas.rules.moment import Pass
from results.registry import Registry

RULES: Registry[Callable[..., list[Pass]]] = Registry("training rule")
"""``f(moment, *, ...settings)`` gives the passes of one step. A rule that draws by size registers with
``needs={"sizes"}``: it works only where the moment has a size."""
