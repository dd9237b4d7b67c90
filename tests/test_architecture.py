"""Holds the code to the picture in ARCHITECTURE.md: who imports whom, no cycles, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "search_spaces": {"search_spaces", "results"},
    "results": {"results"},
    "nas": {"nas", "search_spaces", "results"},
    "compress": {"compress", "results"},
    "runners": {"runners", "nas", "compress", "search_spaces", "results"},
}
FILES = sorted(file for package in ALLOWED for file in (ROOT / package).rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def imports(file: Path, *, at_import: bool = False) -> set[str]:
    """Our own modules that a file imports; only those run when it is imported, if so asked."""
    found = set()
    nodes: list[ast.AST] = [ast.parse(file.read_text())]
    while nodes:
        node = nodes.pop()
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            module = node.module or ""
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in MODULES else module for a in node.names}
        nodes.extend(ast.iter_child_nodes(node))
    return {name for name in found if name.split(".")[0] in ALLOWED}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_down(file: Path) -> None:
    package = file.relative_to(ROOT).parts[0]
    wrong = {name for name in imports(file) if name.split(".")[0] not in ALLOWED[package]}
    assert not wrong, f"{module_name(file)} must not import {sorted(wrong)}"


def test_there_are_no_cycles() -> None:
    graph = {name: imports(file, at_import=True) & set(MODULES) - {name} for name, file in MODULES.items()}
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, f"import cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def test_no_file_has_grown_past_holding() -> None:
    long = {module_name(f): n for f in FILES if (n := len(f.read_text().splitlines())) > 400}
    assert not long, f"split these: {long}"


HEAVY = ("torch", "ray", "nni", "optuna", "onnxruntime", "onnx", "datasets", "sklearn", "scipy")


@pytest.mark.parametrize(
    "module", ["search_spaces.space", "results.front", "results.files", "results.records", "nas.search"]
)
def test_what_needs_no_torch_imports_none(module: str) -> None:
    code = f"import {module}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_picture_is_in_the_architecture_page() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for package in ALLOWED:
        assert f"`{package}/`" in page
