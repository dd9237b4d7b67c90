"""Holds the code to ARCHITECTURE.md: who imports whom, no circles, light imports, small rooms, words."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.imports import circles, module_edges, read_tree, rooms, wrong_packages

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "results": {"results"},
    "search_spaces": {"search_spaces", "results"},
    "nas": {"nas", "search_spaces", "results"},
    "compress": {"compress", "results"},
    "runners": {"runners", "nas", "compress", "search_spaces", "results"},
}
RUNNERS = (
    *(
        "cli",
        "compressing",
        "run",
        "reading",
        "adopting",
        "stages",
        "artifacts",
        "tables",
        "scoring",
        "training",
    ),
    *("targets", "measuring", "data", "pools", "recipe", "tasks", "(loose)"),
)
"""The rooms of ``runners``, top to bottom; each may import those after it, and all the loose modules."""
LOOSE_FILES = 9
LONGEST_FILE = 400
COMPUTED_IMPORTS = {"results.loading"}
"""Modules that import what a string from outside names."""

TREE = read_tree(ROOT, ALLOWED)
FILES = sorted(TREE.files.items())


def test_imports_point_down() -> None:
    wrong = wrong_packages(TREE, ALLOWED)
    assert not wrong, "against the direction of ARCHITECTURE.md:\n" + "\n".join(wrong)


def test_there_are_no_circles() -> None:
    found = [" -> ".join(path) for path in circles(module_edges(TREE))]
    assert not found, "modules that need each other:\n" + "\n".join(found)


@pytest.mark.parametrize("package", ALLOWED)
def test_the_rooms_of_a_package_need_each_other_in_one_direction(package: str) -> None:
    pairs = {pair for pair in rooms(TREE, package) if "(loose)" not in pair}  # some lie above, some below
    found = [" -> ".join(path) for path in circles(pairs)]
    assert not found, f"sub-packages of {package} that need each other:\n" + "\n".join(found)


def test_the_rooms_of_runners_are_in_order() -> None:
    pairs = rooms(TREE, "runners")
    strangers = {room for pair in pairs for room in pair} - set(RUNNERS)
    assert not strangers, f"give {sorted(strangers)} a place in RUNNERS and in ARCHITECTURE.md"
    wrong = [
        str(one)
        for (source, target), imports in pairs.items()
        if RUNNERS.index(source) > RUNNERS.index(target)
        for one in imports
    ]
    assert not wrong, f"against the order {', '.join(RUNNERS)}:\n" + "\n".join(wrong)


def test_what_is_imported_is_written_there() -> None:
    wrong = [place for place in TREE.computed if place.partition(":")[0] not in COMPUTED_IMPORTS]
    assert not wrong, "name the module, or take results.loading for other people's code:\n" + "\n".join(wrong)


@pytest.mark.parametrize("package", ALLOWED)
def test_few_files_lie_loose_at_the_top_of_a_package(package: str) -> None:
    loose = [file.name for file in sorted((ROOT / package).glob("*.py")) if file.name != "__init__.py"]
    assert len(loose) <= LOOSE_FILES, f"{package}/ has {len(loose)} loose files: {', '.join(loose)}"


def test_no_file_is_too_long() -> None:
    lengths = {name: len(file.read_text().splitlines()) for name, file in FILES}
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
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
        inside = {room for pair in rooms(TREE, package) for room in pair} - {"(loose)"}
        missing = sorted(room for room in inside if f"{room}/" not in page)
        assert not missing, f"ARCHITECTURE.md does not show the rooms {missing} of {package}/"
    for word in ("profile", "target", "device", "pass", "step", "precision", "row", "trial", "limit"):
        assert f"| {word} |" in page, f"the word list of ARCHITECTURE.md lacks {word!r}"


# -- words: one meaning each (ARCHITECTURE.md has the list) ------------------------------------------


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    twice = {word: where for word, where in places.items() if len(where) > 1}
    assert not twice, f"one word for two things: {twice}"


@pytest.mark.parametrize(
    ("word", "only_in"), [("profile", "runners.targets"), ("step", "compress"), ("device", "(nowhere)")]
)
def test_modules_keep_to_the_word_list(word: str, only_in: str) -> None:
    wrong = [
        name
        for name, _ in FILES
        if name.rpartition(".")[2] in (word, f"{word}s", word.rstrip("e") + "ing")
        and not name.startswith(f"{only_in}.")
    ]
    assert not wrong, f"{word!r} means something else: {wrong}"


def test_precision_is_a_number_format() -> None:
    wrong = []
    for name, file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            typed = isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None
            word = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target) if typed else ""
            if typed and word == "precision" and "float" in ast.unparse(node.annotation):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, f"call the relative half width of an interval half_width: {wrong}"
