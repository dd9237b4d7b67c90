"""The number format that a part of a network is to have in its file, as a mark on the part's module.

A mark changes nothing that a module computes: exporters and simulations read it.
"""

from __future__ import annotations

from typing import Any, TypeVar

MIXED = "mixed"
"""The precision of a file whose parts have the number formats that they are marked with."""
_MARK = "chosen_precision"

_Module = TypeVar("_Module")


def in_precision(module: _Module, precision: str) -> _Module:
    """The same module, marked: ``int8``, or ``fp32`` for a part that stays float."""
    setattr(module, _MARK, precision)
    return module


def int8_parts(network: Any) -> tuple[str, ...] | None:
    """Qualified names of the modules that are to be int8; None where no module is marked at all.

    Args:
        network: a ``torch.nn.Module``; it may be marked itself, under the empty name.
    """
    marks = {name: getattr(part, _MARK, "") for name, part in network.named_modules()}
    if not any(marks.values()):
        return None
    return tuple(name for name, precision in marks.items() if precision == "int8")
