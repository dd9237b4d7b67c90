"""``model.py``: a network as classes that say what is done, and one expression of what it is made of."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor, nn

from compress.plain import plain_copy
from compress.source.expression import Construction, of_torch, tensor
from compress.source.forward import COMPUTED, CannotBeWritten, Forward, Given, forward_of
from compress.source.functions import Copied
from compress.source.program import program_of

_TENSOR: Given = (("", COMPUTED),)
_HEADER = '''"""{name}: the network in plain PyTorch, with BatchNorms that are not folded, to train further.

    network = load()                      # with its weights, in eval mode
    scores = network(images)              # {shape}

It needs torch and safetensors, and nothing of what wrote it.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
'''
_FOOTER = '''

def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> nn.Module:
    """The network with its weights, in eval mode."""
    network = build()
    network.load_state_dict(load_file(weights))
    return network.eval()
'''
_CHAIN = '''

def chain(**modules: nn.Module) -> nn.Sequential:
    """Modules one after another, by name."""
    return nn.Sequential(OrderedDict(modules))
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A network as source.

    Attributes:
        source: content of ``model.py``.
        weights: tensors that it loads, by name.
    """

    source: str
    weights: dict[str, Tensor]


@dataclass(slots=True)
class _Writing:
    """Classes and copies so far, and what is known of the calls of modules by their paths."""

    calls: dict[str, Given]
    copied: Copied
    classes: dict[str, str] = field(default_factory=dict)  # body to name
    weights: dict[str, Tensor] = field(default_factory=dict)
    chained: bool = False


def write(network: nn.Module, example: Tensor, *, name: str, weights: str = "weights.safetensors") -> Written:
    """A network as a Python file that needs torch alone, and the weights it loads.

    The file is run, and the network that it builds compared with this one on the example, in eval mode.

    Args:
        network: takes one tensor, gives one tensor; left as it is.
        example: an input, (B, ...).
        name: name of the network, for the file's heading.
        weights: name of the file of weights, beside ``model.py``.

    Raises:
        CannotBeWritten: neither can its modules be traced one by one, or uses one what has no source, nor the
            whole be exported.
    """
    plain = plain_copy(network).cpu().float()
    shape = " x ".join(["B", *map(str, example.shape[1:])])
    head = _HEADER.format(name=name, shape=shape)
    foot = _FOOTER.format(weights=weights)
    try:
        written = _by_modules(plain, head, foot)
        _refuse_another(written, plain, example)
    except CannotBeWritten as reason:
        try:
            program = program_of(plain, example)
            written = Written(source=head + program.source + foot, weights=_kept(program.weights))
            _refuse_another(written, plain, example)
        except CannotBeWritten as other:
            raise CannotBeWritten(f"{reason}; {other}") from other
    return written


def _kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.detach().contiguous().clone() for name, one in weights.items()}


def _by_modules(plain: nn.Module, head: str, foot: str) -> Written:
    """A class for each kind of module, and an expression of what the network is made of."""
    taken = {"torch", "nn", "chain", "build", "load", "load_file", "OrderedDict", "Path", "annotations"}
    made = _Writing(calls={"": _TENSOR}, copied=Copied(taken))
    call = _call(plain, "", made)
    parts = [head, *(f"{line}\n" for line in sorted(set(made.copied.imports)))]
    if made.chained:
        parts.append(_CHAIN)
    parts += [f"\n\n{text}\n" for text in made.copied.definitions]
    parts += [f"\n\nclass {kind}(nn.Module):\n{body}\n" for body, kind in made.classes.items()]
    parts += [_build(call, plain), foot]
    return Written(source="".join(parts), weights=_kept(made.weights))


def _build(call: str | Construction, network: nn.Module) -> str:
    text = call if isinstance(call, str) else call.text(4, lead=len("network = "))
    lines = [f"    network = {text}"]
    first: dict[int, str] = {}
    for path, parameter in network.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            owner, _, own = path.rpartition(".")
            shared = f"network.get_parameter({first[id(parameter)]!r})"
            lines.append(f"    network.get_submodule({owner!r}).{own} = {shared}")
        first.setdefault(id(parameter), path)
    frozen = [path for path, parameter in network.named_parameters() if not parameter.requires_grad]
    if len(frozen) < len(first):  # weights that are fixed by design, not those of a network that is just used
        lines += [f"    network.get_parameter({path!r}).requires_grad_(False)" for path in frozen]
    lines.append("    return network")
    return (
        '\n\ndef build() -> nn.Module:\n    """The network, its weights not loaded."""\n'
        + "\n".join(lines)
        + "\n"
    )


def _call(module: nn.Module, path: str, made: _Writing) -> str | Construction:
    """The call that makes a module, its class written where that is not one of torch."""
    known = of_torch(module)
    if known is not None and not module._forward_hooks and not module._forward_pre_hooks:
        made.weights.update({f"{_dotted(path)}{key}": one for key, one in module.state_dict().items()})
        return known
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return _chain(module, path, made)
    if type(module) in (nn.ModuleList, nn.ModuleDict):
        return _container(module, path, made)
    if type(module) is nn.ParameterList:
        return _parameters(module, path, made)
    return _own(module, path, made)


def _dotted(path: str) -> str:
    return f"{path}." if path else ""


def _chain(module: nn.Module, path: str, made: _Writing) -> Construction:
    names = [name for name, _ in module.named_children()]
    for name in names:
        made.calls.setdefault(f"{_dotted(path)}{name}", _TENSOR)
    children = [_call(child, f"{_dotted(path)}{name}", made) for name, child in module.named_children()]
    if names == [str(place) for place in range(len(names))]:
        return Construction(name="nn.Sequential", places=tuple(children))
    made.chained = True
    if all(name.isidentifier() for name in names):
        return Construction(name="chain", named=tuple(zip(names, children, strict=True)))
    return Construction(name="chain", places=("**" + _mapping(names, children),))


def _mapping(names: list[str], values: list[str | Construction]) -> str:
    items = [
        f"{name!r}: {one if isinstance(one, str) else one.text()}"
        for name, one in zip(names, values, strict=True)
    ]
    return "{" + ", ".join(items) + "}"


def _container(module: nn.Module, path: str, made: _Writing) -> Construction:
    names = [name for name, _ in module.named_children()]
    children = [_call(child, f"{_dotted(path)}{name}", made) for name, child in module.named_children()]
    if isinstance(module, nn.ModuleList):
        return Construction(name="nn.ModuleList", places=(Construction(name="", places=tuple(children)),))
    return Construction(name="nn.ModuleDict", places=(_mapping(names, children),))


def _parameters(module: nn.Module, path: str, made: _Writing) -> Construction:
    made.weights.update({f"{_dotted(path)}{key}": one for key, one in module.state_dict().items()})
    inside = ", ".join(f"nn.Parameter({tensor(one)})" for one in module.parameters())
    return Construction(name="nn.ParameterList", places=(f"[{inside}]",))


def _own(module: nn.Module, path: str, made: _Writing) -> Construction:
    """A module of a class that is not torch's: the class is written, and called with the module's parts."""
    where = f"{path or 'the network'} ({type(module).__name__})"
    given = made.calls.get(path)
    forward = None if given is None else forward_of(module, given, where)
    for below, call in ({} if forward is None else forward.calls).items():
        whole = f"{_dotted(path)}{below}"
        if made.calls.setdefault(whole, call) != call:
            raise CannotBeWritten(f"{whole} is called in more than one way")
    tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    if forward is not None:
        tensors |= forward.constants
    made.weights.update({f"{_dotted(path)}{name}": one for name, one in tensors.items()})
    own = {
        name: f"nn.Parameter({tensor(one)})" if isinstance(one, nn.Parameter) else tensor(one)
        for name, one in tensors.items()
    }
    children = {name: _call(child, f"{_dotted(path)}{name}", made) for name, child in module.named_children()}
    absent = [
        name
        for name, one in [*module._parameters.items(), *module._buffers.items(), *module._modules.items()]
        if one is None
    ]
    arguments: dict[str, str | Construction] = {**own, **children}
    if wrong := [name for name in [*arguments, *absent] if not name.isidentifier()]:
        raise CannotBeWritten(f"{where} has parts whose names are no names in Python: {', '.join(wrong)}")
    buffers = {name for name, one in tensors.items() if not isinstance(one, nn.Parameter)}
    body = _body(list(arguments), buffers, absent, forward, where, made)
    return Construction(name=_class(type(module).__name__, body, made), named=tuple(arguments.items()))


def _body(
    names: list[str],
    buffers: set[str],
    absent: list[str],
    forward: Forward | None,
    where: str,
    made: _Writing,
) -> str:
    lines = [f"    def __init__({', '.join(['self', *names])}):", "        super().__init__()"]
    for name in names:
        line = f'self.register_buffer("{name}", {name})' if name in buffers else f"self.{name} = {name}"
        lines.append(f"        {line}")
    lines += [f"        self.{name} = None" for name in absent]
    if forward is not None:
        source = forward.source
        for name, value in forward.objects.items():
            if name != "torch" and re.search(rf"\b{name}\b", source):
                short = getattr(value, "__name__", name) if callable(value) else name
                source = re.sub(rf"(?<!\.)\b{name}\b", made.copied.name(short, value, where), source)
        lines += ["", *(f"    {line}" if line else "" for line in source.split("\n"))]
    return "\n".join(lines)


def _class(wanted: str, body: str, made: _Writing) -> str:
    if body not in made.classes:
        made.classes[body] = made.copied.free(wanted)
    return made.classes[body]


def _refuse_another(written: Written, network: nn.Module, example: Tensor) -> None:
    """Runs the file and compares what it builds with the network."""
    module = ModuleType("_written_network")
    module.__file__ = "model.py"
    sys.modules[module.__name__] = module  # dataclasses look their module up while they are made
    try:
        exec(compile(written.source, "model.py", "exec"), vars(module))
        built = module.build()
        built.load_state_dict(written.weights)
        built.eval()
        network.eval()
        with torch.inference_mode():
            got, expected = built(example), network(example)
    except Exception as error:  # whatever the code of others does out of its place
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise CannotBeWritten(f"what was written does not run: {words[0]}") from error
    finally:
        del sys.modules[module.__name__]
    if not torch.allclose(got, expected, rtol=1e-4, atol=1e-5):
        apart = float((got - expected).abs().max())
        raise CannotBeWritten(f"what was written is another network: an output differs by {apart:.3g}")
