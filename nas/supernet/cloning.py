"""A network taken apart into a plan, from which twins with other parameters are made.

``copy.deepcopy`` would do it too, fifty times slower.
"""

from __future__ import annotations

import gc
import hashlib
import types
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from nas.supernet.weights import Parameter, parameters_of

_SHARED = (
    *(int, float, complex, str, bytes, type(None), type, range, types.ModuleType, types.BuiltinFunctionType),
    *(torch.dtype, torch.device, torch.Size, torch.Generator),
)
_PLAIN = {int, float, str, bool, type(None)}
_CONTAINERS = (list, tuple, set)
_COPIED = (dict, list, set)
_SEARCHED = 10_000  # objects
_LARGE = 1024  # elements of a buffer; comparing smaller ones costs more than holding them


class NoTwinError(Exception):
    """A network holds something that refers to it and of which no twin can be made, such as a closure."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a twin of one module is made from.

    Attributes:
        kind: its class.
        shared: attributes that twins have in common. The keys of the copied ones are there too: a dict that
            is filled at once is not enlarged again and again.
        copied: dicts, lists and sets of such; nn.Module has a dozen in every module, mostly empty.
        translated: attributes that refer to the network's modules or hold tensors.
        registered: what to put into ``_parameters``, ``_buffers`` and ``_modules``: the attribute, which of
            the three it is, and for each name the place among the network's.
    """

    kind: type[nn.Module]
    shared: dict[str, Any]
    copied: tuple[tuple[str, Any], ...]
    translated: tuple[tuple[str, Any], ...]
    registered: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...]


class Templates:
    """What the buffers of many networks are cloned from: large ones that are equal are held once.

    The index tables and masks of a transformer are the same in every network of a space.

    Args:
        device: device that holds them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()

    def of(self, buffer: Tensor) -> Tensor:
        """A tensor of the same values on the device, never to be written to."""
        if buffer.numel() < _LARGE:
            return buffer.to(self._device)
        values = buffer.cpu().contiguous().flatten().view(torch.uint8).numpy()
        key = buffer.dtype, buffer.shape, buffer.stride(), hashlib.sha256(values.data).digest()
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = buffer.to(self._device)
        return held


class Skeleton:
    """A plan of a network, from which twins with other parameters are made.

    A twin is an ordinary network of the same classes with buffers, dicts and lists of its own; lists, dicts
    and bound methods that a network keeps beside its registered modules refer to the twin's.

    Args:
        module: the network; it loses its parameters' memory.
        templates: templates of its buffers, on the device where twins have theirs.

    Attributes:
        parameters: its parameters, tied ones once, in the order that ``make`` takes them.

    Raises:
        ValueError: modules with parameters that are not registered.
        NoTwinError: see there; such a network is built by its constructor each time.
    """

    def __init__(self, module: nn.Module, templates: Templates) -> None:
        named = dict(module.named_modules())
        modules = list(named.values())
        self.parameters: tuple[Parameter, ...] = tuple(parameters_of(named))
        parameters, buffers = _unique(modules, "_parameters"), _unique(modules, "_buffers")
        places = {id(one): at for group in (modules, parameters, buffers) for at, one in enumerate(group)}
        self._parts = [_part(one, places) for one in modules]
        self._buffers = [templates.of(buffer.detach()) for buffer in buffers]
        # Needed only to find what an attribute refers to; their memory is not.
        self._originals: list[object] = []
        if any(part.translated for part in self._parts):
            self._originals = [*modules, *parameters, *buffers]
            for parameter in parameters:
                parameter.data = parameter.data.new_empty(0)

    def make(self, parameters: Sequence[nn.Parameter]) -> nn.Module:
        """A twin that runs on these parameters, in training mode unless the constructor chose otherwise."""
        buffers = [buffer.clone() for buffer in self._buffers]
        modules = [part.kind.__new__(part.kind) for part in self._parts]
        sources: tuple[Sequence[Any], ...] = (parameters, buffers, modules)
        twins: dict[int, object] = {}
        if self._originals:
            new = [*modules, *parameters, *buffers]
            twins = {id(old): twin for old, twin in zip(self._originals, new, strict=True)}
        for module, part in zip(modules, self._parts, strict=True):
            state = module.__dict__  # past nn.Module.__setattr__, which takes ten times as long
            state.update(part.shared)
            for key, value in part.copied:
                state[key] = value.copy()
            for key, value in part.translated:
                state[key] = _translate(value, twins)
            for attribute, source, at_names in part.registered:
                own, values = state[attribute], sources[source]
                for name, at in at_names:
                    own[name] = values[at]
        return modules[0]


class Single:
    """A network of which no twin can be made: the one that was built, to be used once.

    Attributes:
        parameters: parameters by module, as a skeleton has them.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.parameters: tuple[Parameter, ...] = tuple(parameters_of(dict(module.named_modules())))
        self._module, self._device = module, device

    def make(self, parameters: Sequence[nn.Parameter]) -> nn.Module:
        """The network on these parameters, its buffers moved to the device.

        Its own parameters take their memory: whatever the network keeps beside its modules refers to those.
        """
        modules = list(self._module.modules())
        for own, given in zip(_unique(modules, "_parameters"), parameters, strict=True):
            own.requires_grad_(given.requires_grad)
            own.data, own.grad = given.data, given.grad
        for owner in modules:
            for name, buffer in owner._buffers.items():
                if buffer is not None:
                    owner._buffers[name] = buffer.to(self._device)
        return self._module


def _unique(modules: Sequence[nn.Module], kind: str) -> list[Tensor]:
    """The tensors registered in modules, tied ones once, in order."""
    found = (tensor for module in modules for tensor in getattr(module, kind).values())
    return list({id(tensor): tensor for tensor in found if tensor is not None}.values())


_REGISTERED = ("_parameters", "_buffers", "_modules")
# What every module has besides, mostly empty: its hooks.
_HOOKS = {
    key: value
    for key, value in nn.Module().__dict__.items()
    if isinstance(value, _COPIED) and key not in _REGISTERED
}
_HOOK_ITEMS = tuple(_HOOKS.items())  # the same in all parts: every object more is one more to collect
_Places = Mapping[int, int]


def _part(module: nn.Module, places: _Places) -> _Part:
    kind, state = type(module), module.__dict__
    if kind.__new__ is not object.__new__:
        raise NoTwinError(f"{kind.__name__} has a __new__ of its own")
    hooked = any(map(state.get, _HOOKS))
    shared: dict[str, Any] = {} if hooked else _HOOKS.copy()
    copied: list[tuple[str, Any]] = [] if hooked else [*_HOOK_ITEMS]
    translated, registered = [], []
    for key, value in state.items():
        if key in _REGISTERED:
            copied.append((key, dict.fromkeys(value)))
            if value:
                at = tuple([(name, places[id(one)]) for name, one in value.items() if one is not None])
                registered.append((key, _REGISTERED.index(key), at))
        elif type(value) in _PLAIN:
            shared[key] = value
        elif not hooked and key in _HOOKS:
            continue
        elif isinstance(value, _COPIED) and not value:
            copied.append((key, value))
        elif _is_shared(value, places, (kind.__name__, key)):
            shared[key] = value
        elif isinstance(value, _COPIED) and all(
            _is_shared(one, places, (kind.__name__, key)) for one in _items(value)
        ):
            copied.append((key, value))
        else:
            translated.append((key, value))
    shared.update(copied)
    return _Part(kind, shared, tuple(copied), tuple(translated), tuple(registered))


def _is_shared(value: object, places: _Places, where: tuple[str, str]) -> bool:
    """Whether twins may hold the same object; raises where it has to be another one and cannot."""
    if type(value) in _PLAIN:
        return True
    if id(value) in places:
        return False
    if isinstance(value, nn.Parameter):
        raise ValueError(
            f"{'.'.join(where)} keeps a parameter that is not registered, so it would never be trained; use "
            f"nn.ParameterList or nn.ParameterDict instead of a list or dict"
        )
    if isinstance(value, Tensor):
        return False
    if isinstance(value, _SHARED):
        return True
    if isinstance(value, dict) or type(value) in _CONTAINERS:
        immutable = [_is_shared(item, places, where) for item in _items(value)]
        return type(value) is tuple and all(immutable)
    if isinstance(value, types.MethodType) and id(value.__self__) in places:
        return False
    if isinstance(value, nn.Module) and any(True for _ in value.parameters()):
        raise ValueError(
            f"{'.'.join(where)} keeps modules with parameters that are not registered, so they would "
            f"never be trained; use nn.ModuleList or nn.ModuleDict instead of a list or dict"
        )
    if _reaches(value, places):
        raise NoTwinError(f"{'.'.join(where)} refers to the network in a way that has no twin")
    return True


def _items(container: Any) -> Iterator[object]:
    return chain(container.keys(), container.values()) if isinstance(container, dict) else iter(container)


def _reaches(value: object, places: _Places) -> bool:
    """Whether one gets from an object to a module or tensor of the network; taken for granted if far."""
    stack, seen = [value], {id(value)}
    while stack:
        one = stack.pop()
        if id(one) in places:
            return True
        if isinstance(one, types.FunctionType):  # not its globals
            near: list[object] = [one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__]
        elif isinstance(one, weakref.ref):
            near = [one()]
        elif isinstance(one, (*_SHARED, Tensor)):
            near = []
        else:
            near = gc.get_referents(one)
        for other in near:
            if id(other) not in seen:
                seen.add(id(other))
                stack.append(other)
        if len(seen) > _SEARCHED:
            return True
    return False


def _translate(value: Any, twins: dict[int, object]) -> Any:
    """The value as a twin holds it: its own modules and tensors, containers copied, the rest shared."""
    if id(value) in twins:
        return twins[id(value)]
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        copy = value.copy()  # keeps an OrderedDict one
        for key, item in value.items():
            copy[key] = _translate(item, twins)
        return copy
    if type(value) in _CONTAINERS:
        return type(value)(_translate(item, twins) for item in value)
    if isinstance(value, types.MethodType) and id(value.__self__) in twins:
        return types.MethodType(value.__func__, twins[id(value.__self__)])
    return value
