"""Calls with their arguments as text, and modules of ``torch.nn`` as the calls that construct them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 110
"""Characters that a line of the written file may have."""

_PLAIN = (bool, int, float, str, type(None))
_GIVEN_ELSEWHERE = ("self", "device", "dtype")
_TENSORS = {  # what a flag of the constructor decided to make
    "bias": lambda module: getattr(module, "bias", getattr(module, "in_proj_bias", None)) is not None,
    "add_bias_kv": lambda module: module.bias_k is not None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Construction:
    """A call as it is written.

    Attributes:
        name: What is called.
        places: Arguments by place: text, or further calls.
        named: Arguments by name.
    """

    name: str
    places: tuple[str | Construction, ...] = ()
    named: tuple[tuple[str, str | Construction], ...] = ()

    def text(self, indent: int = 0, *, lead: int = 0) -> str:
        """The call in one line where it fits, otherwise with an argument a line.

        Args:
            indent: Spaces before the line that it begins on.
            lead: Characters that stand before it on that line.
        """
        given = [("", one) for one in self.places] + [(f"{name}=", one) for name, one in self.named]
        flat = ", ".join(label + (one if isinstance(one, str) else one.text()) for label, one in given)
        whole = f"{self.name}({flat})"
        if "\n" not in whole and indent + lead + len(whole) <= WIDTH:
            return whole
        deeper = indent + 4
        lines = [
            " " * deeper
            + label
            + (one if isinstance(one, str) else one.text(deeper, lead=len(label) + 1))
            + ","
            for label, one in given
        ]
        return "\n".join([f"{self.name}(", *lines, " " * indent + ")"])


def is_plain(value: Any) -> bool:
    """Whether a value can be written as it is: numbers, text, None, and tuples of those."""
    return type(value) in _PLAIN or (type(value) is tuple and all(map(is_plain, value)))


def of_torch(module: nn.Module) -> Construction | None:
    """A module of ``torch.nn`` as the call that makes one like it; None where there is no such call.

    It is made, and compared: parameters and buffers by name and shape, and every plain attribute.
    """
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind or "forward" in vars(module):
        return None
    try:
        arguments = _arguments(module)
    except AttributeError:
        return None
    for short in (True, False):
        call = _written(kind.__name__, arguments, short=short)
        if call is not None and _alike(eval(call.text(), {"nn": nn}), module):
            return call
    return None


def _arguments(module: nn.Module) -> list[tuple[inspect.Parameter, Any]]:
    """The constructor's parameters with the values that this module was made with."""
    found = []
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in _GIVEN_ELSEWHERE:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if name == "args" or name == "kwargs":
                continue
            raise AttributeError(name)
        if name in _TENSORS and isinstance(parameter.default, bool):
            value = _TENSORS[name](module)
        elif parameter.default is parameter.empty or hasattr(module, name):
            value = getattr(module, name)
        else:
            value = parameter.default
        found.append((parameter, value))
    return found


def _written(
    kind: str, arguments: Sequence[tuple[inspect.Parameter, Any]], *, short: bool
) -> Construction | None:
    places, named = [], []
    for parameter, value in arguments:
        value = tuple(value) if isinstance(value, torch.Size) else value
        if short and isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1:
            value = value[0]
        if not is_plain(value):
            return None
        if parameter.default is parameter.empty:
            places.append(repr(value))
        elif value != parameter.default and value != (parameter.default,):
            named.append((parameter.name, repr(value)))
    return Construction(name=f"nn.{kind}", places=tuple(places), named=tuple(named))


def _alike(made: nn.Module, module: nn.Module) -> bool:
    return _form(made) == _form(module)


def _form(module: nn.Module) -> Any:
    """What has to be equal of two modules that are to compute alike with the same weights."""
    tensors: dict[str, Tensor | None] = {**module._parameters, **module._buffers}
    shapes = {name: None if one is None else (tuple(one.shape), one.dtype) for name, one in tensors.items()}
    plain = {name: one for name, one in vars(module).items() if is_plain(one) and name != "training"}
    children = {name: (type(one), _form(one)) for name, one in module.named_children()}
    return shapes, plain, children


def tensor(value: Tensor) -> str:
    """An empty tensor of the form of another, which weights are then read into."""
    dtype = "" if value.dtype == torch.float32 else f", dtype={value.dtype}"
    return f"torch.zeros({tuple(value.shape)}{dtype})"
