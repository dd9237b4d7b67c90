"""Functions and classes that a traced ``forward`` names, copied as source with all that they need."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from types import ModuleType
from typing import Any

from compress.source.expression import is_plain
from compress.source.forward import CannotBeWritten

_THERE = frozenset({*sys.stdlib_module_names, "torch", "numpy", "math"})
"""Packages that are there wherever the file is used."""


class Copied:
    """What was copied so far: imports, constants, functions and classes, each once and under its own name."""

    def __init__(self, taken: set[str]) -> None:
        self.imports: list[str] = []
        self.definitions: list[str] = []
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # whose ids are known
        self._taken = set(taken)

    def name(self, wanted: str, value: Any, where: str) -> str:
        """The name under which the file has an object, which is copied where it was not yet.

        Args:
            wanted: name it has where it is used.
            value: object.
            where: what uses it, for messages.

        Raises:
            CannotBeWritten: it is neither plain, nor of torch, nor has a source.
        """
        if id(value) in self._names:
            return self._names[id(value)]
        own = self.free(wanted)
        self._names[id(value)] = own
        self._kept.append(value)
        if isinstance(value, ModuleType):
            self._known(value.__name__, wanted, where)
            self.imports.append(f"import {value.__name__} as {own}")
        elif is_plain(value):
            self.definitions.append(f"{own} = {value!r}")
        elif callable(value) and hasattr(value, "__module__") and hasattr(value, "__qualname__"):
            if _package(value.__module__) in _THERE:
                self.imports.append(f"from {value.__module__} import {value.__qualname__} as {own}")
            else:
                self._define(own, value, where)
        else:
            raise CannotBeWritten(f"{where} uses {wanted}, a {type(value).__name__}, which has no source")
        return own

    def _known(self, module: str, wanted: str, where: str) -> None:
        if _package(module) not in _THERE:
            raise CannotBeWritten(f"{where} uses {wanted}, module {module}, which may not be there")

    def free(self, wanted: str) -> str:
        """A name like this one that the file has not yet; it is taken from now on."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def _define(self, own: str, value: Any, where: str) -> None:
        plain = inspect.unwrap(value)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
        except (OSError, TypeError, SyntaxError) as error:
            raise CannotBeWritten(f"{where} uses {own}, whose source is not there") from error
        (definition,) = tree.body
        if not isinstance(definition, ast.FunctionDef | ast.ClassDef):
            raise CannotBeWritten(f"{where} uses {own}, which is not defined by def or class")
        space = vars(sys.modules[plain.__module__])
        names = _Named()
        names.visit(definition)
        renamed = {definition.name: own}
        for name in sorted(names.found - {definition.name}):
            if name in space:
                renamed[name] = self.name(name, space[name], own)
            elif not hasattr(builtins, name) and name not in names.own:
                raise CannotBeWritten(f"{own} uses {name}, which is not a name of its module")
        definition.name = own
        _Renamed(renamed).visit(definition)
        self.definitions.append(ast.unparse(definition))


def _package(module: str) -> str:
    return module.partition(".")[0]


class _Named(ast.NodeVisitor):
    """The names that a definition reads, annotations left aside; and those that it binds."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.own: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        (self.found if isinstance(node.ctx, ast.Load) else self.own).add(node.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        self.own.add(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.own.add(node.name)
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        self.generic_visit(node)


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node
