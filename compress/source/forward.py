"""What a module does with its input, as source: its own ``forward`` traced, its children called as they are.

Tracing resolves what is decided by settings, and follows calls to other methods. It is done as in training
and as in evaluation; where these differ, the source asks ``self.training``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from compress.plain import faithful_copy

Given = tuple[tuple[str, Any], ...]
"""Arguments of a call: their names, empty where they go by place, and ``COMPUTED`` or a constant."""

FREED = re.compile(r";  .*$", re.MULTILINE)
"""What torch writes behind a statement to free variables."""
_POWER = re.compile(r" (-[\d.e+-]+) \*\*")  # torch writes (-1) ** x without its brackets
_NUMBERED = re.compile(r'getattr\((self[\w.\[\]]*), "(\d+)"\)')


class Computed:
    """Stands for an argument that is computed by the network."""


COMPUTED = Computed()


class CannotBeWritten(ValueError):
    """A module whose source cannot be written; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A traced ``forward``.

    Attributes:
        source: Its source, from ``def`` on, not indented.
        objects: What it names, apart from torch.
        calls: Arguments that children are called with, by their path.
        constants: Tensors that it makes and that depend on no input, by the names it gives them.
    """

    source: str
    objects: dict[str, Any]
    calls: dict[str, Given]
    constants: dict[str, Any]


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True

    def is_leaf_module(self, *_: object) -> bool:
        return True


def forward_of(module: nn.Module, given: Given, where: str) -> Forward:
    """The source of a module's ``forward``.

    Args:
        module: left as it is.
        given: what it is called with.
        where: its place in the network, for messages.

    Raises:
        CannotBeWritten: it cannot be traced.
    """
    training, evaluation = (_traced(module, given, where, training=mode) for mode in (True, False))
    if training.source == evaluation.source:
        return evaluation
    if set(training.constants) != set(evaluation.constants):
        raise CannotBeWritten(f"{where} makes tensors in training that a trace would hold as constants")
    head, body = evaluation.source.split("\n", 1)
    _, other = training.source.split("\n", 1)
    source = f"{head}\n    if self.training:\n{_deeper(other)}\n{body}"
    return Forward(
        source=source,
        objects={**training.objects, **evaluation.objects},
        calls=_together(training.calls, evaluation.calls, where),
        constants=evaluation.constants,
    )


def _deeper(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.split("\n"))


def _traced(module: nn.Module, given: Given, where: str, *, training: bool) -> Forward:
    if "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
        raise CannotBeWritten(f"{where} has hooks, or a forward of its own beside its class's")
    own = faithful_copy(module).train(training)
    kind = type(own)
    before = {name for name, _ in own.named_buffers(recurse=False)} | set(vars(own))
    own.__class__ = type(kind.__name__, (kind,), {"forward": _called_with(kind, given)})
    try:
        graph = _Tracer().trace(own)
        for node in graph.nodes:
            if node.op == "call_function" and node.target.__name__ == node.name:  # it would hide the function
                node._rename(f"{node.name}_found")
        written = graph.python_code("self")
    except Exception as error:  # a user's forward fails on proxies in whatever way it likes
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise CannotBeWritten(f"the forward of {where} cannot be traced: {words[0]}") from error
    source = written.src[written.src.index("def forward") :].strip()
    source = _POWER.sub(r" (\1) **", FREED.sub("", source))
    while (shorter := _NUMBERED.sub(r"\1[\2]", source)) != source:
        source = shorter
    calls: dict[str, Given] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls = _together(calls, {str(node.target): _given(node)}, where)
    constants = {
        name: value
        for name, value in [*vars(own).items(), *own.named_buffers(recurse=False)]
        if name.startswith("_tensor_constant") and name not in before
    }
    return Forward(source=source, objects=dict(written.globals), calls=calls, constants=constants)


def _called_with(kind: type[nn.Module], given: Given) -> Callable[..., Any]:
    """A ``forward`` with just these arguments, constants among them being what they are."""
    known = list(inspect.signature(kind.forward).parameters)[1:]
    names = [
        name or (known[place] if place < len(known) else f"x{place}") for place, (name, _) in enumerate(given)
    ]
    handed = [
        ("" if not label else f"{label}=") + (name if value is COMPUTED else f"_constants[{place}]")
        for place, ((label, value), name) in enumerate(zip(given, names, strict=True))
    ]
    space: dict[str, Any] = {"_kind": kind, "_constants": [value for _, value in given]}
    code = f"def forward(self, {', '.join(names)}):\n    return _kind.forward(self, {', '.join(handed)})\n"
    exec(code, space)
    made: Callable[..., Any] = space["forward"]
    return made


def _given(node: fx.Node) -> Given:
    """The arguments of a call of a child."""
    every = [*(("", value) for value in node.args), *node.kwargs.items()]
    return tuple((name, COMPUTED if _is_computed(value) else value) for name, value in every)


def _is_computed(value: Any) -> bool:
    found: list[fx.Node] = []
    fx.node.map_arg(value, lambda node: found.append(node))
    return bool(found)


def _together(one: dict[str, Given], other: dict[str, Given], where: str) -> dict[str, Given]:
    for path, given in other.items():
        if path in one and one[path] != given:
            raise CannotBeWritten(f"{where} calls {path} in more than one way")
    return {**one, **other}
