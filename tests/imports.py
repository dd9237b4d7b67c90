"""Reads the imports of a source tree: at the top, in functions, for type checkers, and by string."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BY_STRING = ("import_module", "__import__", "load_module", "load_object")
"""Functions that import what a string names. A computed name is refused for the first two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One module that needs another.

    Attributes:
        source: module that imports.
        target: module that is imported, the package where a name of its ``__init__`` is.
        line: line in the source's file.
        typing_only: whether only type checkers run it.
    """

    source: str
    target: str
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The modules of some packages.

    Attributes:
        files: file by dotted name; a package stands for its ``__init__.py``.
        imports: every import of one of these modules by another.
        computed: places that import by a string which is not written there.
    """

    files: Mapping[str, Path]
    imports: Sequence[Import]
    computed: Sequence[str]


def read_tree(root: Path, packages: Iterable[str]) -> Tree:
    """Reads packages below a folder.

    Raises:
        ValueError: a relative import.
    """
    files = {
        _dotted(file.relative_to(root)): file
        for package in packages
        for file in sorted((root / package).rglob("*.py"))
    }
    imports: list[Import] = []
    computed: list[str] = []
    for source, file in files.items():
        reader = _Reader(source, files)
        reader.visit(ast.parse(file.read_text()))
        imports += [found for found in reader.imports if found.target != source]
        computed += reader.computed
    return Tree(files=files, imports=imports, computed=computed)


def wrong_packages(tree: Tree, allowed: Mapping[str, Collection[str]]) -> list[str]:
    """The imports of packages that a package must not know, imports for type checkers included.

    Args:
        tree: modules and imports.
        allowed: packages that each package may import.
    """
    return [
        str(one)
        for one in tree.imports
        if one.target.partition(".")[0] not in allowed[one.source.partition(".")[0]]
    ]


def rooms(tree: Tree, package: str) -> dict[tuple[str, str], list[Import]]:
    """The imports between sub-packages of a package; its loose modules count as one, called ``(loose)``."""
    found: dict[tuple[str, str], list[Import]] = {}
    for one in tree.imports:
        if one.source.partition(".")[0] == one.target.partition(".")[0] == package:
            pair = _room(tree, one.source), _room(tree, one.target)
            if pair[0] != pair[1]:
                found.setdefault(pair, []).append(one)
    return found


def circles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One circle of each group of nodes that reach each other, as a path that returns to its start."""
    graph: dict[str, set[str]] = {}
    for source, target in edges:
        graph.setdefault(source, set()).add(target)
        graph.setdefault(target, set())
    found: list[list[str]] = []
    taken: set[str] = set()
    for node in sorted(graph):
        path = None if node in taken else _way_back(graph, node)
        if path:
            found.append(path)
            taken |= {other for other in graph if _way(graph, node, other) and _way(graph, other, node)}
    return found


def module_edges(tree: Tree) -> Iterator[tuple[str, str]]:
    """What has to be imported before a module can be: its imports, and the packages around them.

    A package around both modules is under way already and waits for neither; imports in functions count, for
    they hide a circle and do not remove it.
    """
    for one in tree.imports:
        if one.typing_only:
            continue
        parts = one.target.split(".")
        for end in range(1, len(parts) + 1):
            target = ".".join(parts[:end])
            if target in tree.files and not f"{one.source}.".startswith(f"{target}."):
                yield one.source, target
        if f"{one.source}.".startswith(f"{one.target}."):
            yield one.source, one.target


class _Reader(ast.NodeVisitor):
    def __init__(self, source: str, files: Mapping[str, Path]) -> None:
        self.imports: list[Import] = []
        self.computed: list[str] = []
        self._source = source
        self._files = files
        self._typing_only = False

    def visit_If(self, node: ast.If) -> None:
        before = self._typing_only
        self._typing_only = before or ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self._typing_only = before
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            raise ValueError(f"{self._source}:{node.lineno}: imports are absolute")
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            self._add(whole if whole in self._files else str(node.module), node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in BY_STRING and node.args:
            spec = node.args[0]
            if isinstance(spec, ast.Constant) and isinstance(spec.value, str):
                self._add(spec.value.partition(":")[0], node.lineno)
            elif name in BY_STRING[:2]:
                self.computed.append(f"{self._source}:{node.lineno} imports {ast.unparse(spec)}")
        self.generic_visit(node)

    def _add(self, name: str, line: int) -> None:
        while name and name not in self._files:
            name = name.rpartition(".")[0]
        if name:
            self.imports.append(
                Import(source=self._source, target=name, line=line, typing_only=self._typing_only)
            )


def _dotted(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(tree: Tree, module: str) -> str:
    parts = module.split(".")
    inside = len(parts) > 2 or (len(parts) == 2 and tree.files[module].name == "__init__.py")
    return parts[1] if inside else "(loose)"


def _way_back(graph: Mapping[str, set[str]], node: str) -> list[str]:
    ways = [way for other in sorted(graph[node]) if (way := _way(graph, other, node))]
    return [node, *min(ways, key=len)] if ways else []


def _way(graph: Mapping[str, set[str]], start: str, end: str) -> list[str]:
    """A shortest way from one node to another, both included; empty where there is none."""
    before: dict[str, str] = {start: ""}
    queue = [start]
    for node in queue:
        if node == end:
            way = [node]
            while before[way[0]]:
                way.insert(0, before[way[0]])
            return way
        for other in sorted(graph[node] - before.keys()):
            before[other] = node
            queue.append(other)
    return []
