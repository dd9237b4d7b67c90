"""A network as one flat ``forward``, for those whose modules cannot be traced one by one.

``torch.export`` follows conditions on sizes, arguments of any kind and hooks, and gives the operators of the
whole network in a row. Dropouts and BatchNorms ask ``self.training`` again, so that it can be trained on;
what is done in training alone, such as dropout inside of attention, is not there.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, OutputKind

from compress.source.forward import FREED, CannotBeWritten

_ASKED_IN_TRAINING = {"aten.batch_norm.default": 5, "aten.dropout.default": 2}
"""Place of the argument that says whether it is training."""
_CHECK = re.compile(r"^ *\w+ = torch\.ops\.aten\.(?:_assert|sym_constrain)\w*\.\w+\(.*\n", re.MULTILINE)
_DEVICE = re.compile(r"device = device\(type='cpu'\)")
_CODE = '''

PARAMETERS = {{
{parameters}
}}
BUFFERS = {{
{buffers}
}}


class Program(nn.Module):
    """All operators in a row, as exported in eval mode; weights have the names that they had."""

{forward}


def put(network: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Registers a tensor under a dotted name."""
    *path, own = name.split(".")
    for part in path:
        if part not in network._modules:
            network.add_module(part, nn.Module())
        network = network._modules[part]
    if isinstance(tensor, nn.Parameter):
        network.register_parameter(own, tensor)
    else:
        network.register_buffer(own, tensor)


def build() -> nn.Module:
    """The network, its weights not loaded."""
    network = Program()
    for name, shape in PARAMETERS.items():
        put(network, name, nn.Parameter(torch.zeros(shape)))
    for name, (shape, dtype) in BUFFERS.items():
        put(network, name, torch.zeros(shape, dtype=dtype))
    return network
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """An exported network.

    Attributes:
        source: Source of its class and of ``build``.
        weights: Parameters and buffers by name, those with several by the first.
    """

    source: str
    weights: dict[str, Tensor]


def program_of(network: nn.Module, example: Tensor) -> Flat:
    """The flat source of a network.

    Args:
        network: takes one tensor, gives one tensor; left in eval mode.
        example: an input, (B, ...) with two images or more.

    Raises:
        CannotBeWritten: it cannot be exported, or changes buffers in eval mode.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = ({0: torch.export.Dim("batch")},)
            exported = torch.export.export(network.eval(), (example,), dynamic_shapes=batch, strict=False)
    except Exception as error:  # exporters and a user's module fail in whatever way they like
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise CannotBeWritten(f"the network cannot be exported either: {words[0]}") from error
    outputs = exported.graph_signature.output_specs
    if [one.kind for one in outputs] != [OutputKind.USER_OUTPUT]:
        raise CannotBeWritten("the network changes buffers in eval mode, or gives more than one tensor")
    graph, names, weights = exported.graph, {}, {}
    first: dict[int, str] = {}  # what is tied is there once
    for spec in exported.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        target = str(spec.target)
        held = (exported.state_dict if target in exported.state_dict else exported.constants)[target]
        names[spec.arg.name] = first.setdefault(id(held), target)
        weights[names[spec.arg.name]] = held
    inside = {name for name, one in weights.items() if isinstance(one, nn.Parameter)}
    _asks_training(graph)
    source = _forward(graph, lambda name: _read(names[name], inside), names)
    shapes = {name: tuple(one.shape) for name, one in weights.items()}
    return Flat(
        source=_CODE.format(
            parameters="\n".join(f"    {name!r}: {shapes[name]}," for name in weights if name in inside),
            buffers="\n".join(
                f"    {name!r}: ({shapes[name]}, {one.dtype}),"
                for name, one in weights.items()
                if name not in inside
            ),
            forward="\n".join(f"    {line}" if line else "" for line in source.split("\n")),
        ),
        weights=weights,
    )


def _read(target: str, parameters: set[str]) -> str:
    return f'self.{"get_parameter" if target in parameters else "get_buffer"}("{target}")'


def _asks_training(graph: fx.Graph) -> None:
    """Has what was exported in eval mode ask for the mode."""
    first = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(first), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the attribute is no tensor
        training = graph.get_attr("training")
    for node in graph.nodes:
        place = _ASKED_IN_TRAINING.get(str(node.target))
        if place is not None and len(node.args) > place and node.args[place] is False:
            node.update_arg(place, training)


def _forward(graph: fx.Graph, read: Callable[[str], str], names: dict[str, str]) -> str:
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = (output.args[0][0],)
    written = graph.python_code("self")
    given = next(node.name for node in graph.nodes if node.op == "placeholder" and node.name not in names)
    source = FREED.sub("", written.src[written.src.index("def forward") :].strip())
    _, body = source.split("\n", 1)
    there = {"torch", "device"}
    if strange := sorted(name for name in set(written.globals) - there if re.search(rf"\b{name}\b", body)):
        raise CannotBeWritten(f"the exported network uses {', '.join(strange)}")
    body = _DEVICE.sub(f"device = {given}.device", _CHECK.sub("", body + "\n")).rstrip()
    body = re.sub(r"\b\w+\b", lambda found: read(found[0]) if found[0] in names else found[0], body)
    return f"def forward(self, {given}):\n{body}"
