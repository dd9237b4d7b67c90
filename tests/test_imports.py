"""The checks of the architecture see what they should: each fails on a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imports import Tree, circles, module_edges, read_tree, rooms, wrong_packages

ALLOWED = {"low": {"low"}, "high": {"high", "low"}}


def tree(folder: Path, **files: str) -> Tree:
    """A source tree; ``low__part__a`` is ``low/part/a.py``."""
    for name, text in files.items():
        file = folder.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for package in [file.parent, *file.parent.parents]:
            if package.is_relative_to(folder) and package != folder:
                (package / "__init__.py").touch()
    return read_tree(folder, ALLOWED)


def test_a_clean_tree_has_no_faults(tmp_path: Path) -> None:
    made = tree(tmp_path, low__a="import json", low__b="from low import a", high__c="from low.b import x")
    assert wrong_packages(made, ALLOWED) == []
    assert circles(module_edges(made)) == []
    assert [str(one) for one in made.imports] == ["low.b:1 imports low.a", "high.c:1 imports low.b"]


@pytest.mark.parametrize(
    "wrong",
    [
        "from high import c",
        "import high.c",
        "def late():\n    from high.c import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from high.c import X",
        "from importlib import import_module\nimport_module('high.c')",
        "import importlib\ndef late():\n    return importlib.import_module('high.c')",
        "from results.loading import load_object\nload_object('high.c:x')",
        "__import__('high.c')",
    ],
)
def test_a_wrong_direction_is_seen(wrong: str, tmp_path: Path) -> None:
    made = tree(tmp_path, low__a=wrong, high__c="x = 1")
    (found,) = wrong_packages(made, ALLOWED)
    assert found.startswith("low.a:")
    assert found.endswith("imports high.c")


@pytest.mark.parametrize(
    "back",
    [
        "from low.a import x",
        "def late():\n    from low.a import x",
        "class C:\n    def late(self):\n        import low.a",
        "from importlib import import_module\nf = lambda: import_module('low.a')",
    ],
)
def test_a_circle_is_seen(back: str, tmp_path: Path) -> None:
    made = tree(tmp_path, low__a="from low import b\nx = 1", low__b="from low import c", low__c=back)
    assert circles(module_edges(made)) == [["low.a", "low.b", "low.c", "low.a"]]


def test_an_import_for_type_checkers_closes_no_circle(tmp_path: Path) -> None:
    typing_only = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from low.a import X"
    made = tree(tmp_path, low__a="from low import b", low__b=typing_only)
    assert circles(module_edges(made)) == []
    assert [str(one) for one in made.imports if one.typing_only] == ["low.b:3 imports low.a"]
    otherwise = f"{typing_only}\nelse:\n    from low.a import X"
    assert circles(module_edges(tree(tmp_path, low__b=otherwise))) == [["low.a", "low.b", "low.a"]]


def test_a_circle_through_a_package_is_seen(tmp_path: Path) -> None:
    made = tree(tmp_path, low__part__a="x = 1", low__b="from low.part.a import x")
    (tmp_path / "low" / "part" / "__init__.py").write_text("from low.b import x")
    made = read_tree(tmp_path, ALLOWED)
    assert circles(module_edges(made)) == [["low.b", "low.part", "low.b"]]


def test_two_circles_are_two(tmp_path: Path) -> None:
    made = tree(
        tmp_path,
        low__a="from low import b",
        low__b="from low import a",
        low__c="import low.d",
        low__d="import low.c",
    )
    assert circles(module_edges(made)) == [["low.a", "low.b", "low.a"], ["low.c", "low.d", "low.c"]]


def test_rooms_that_need_each_other_are_seen(tmp_path: Path) -> None:
    made = tree(
        tmp_path,
        low__one__a="def late():\n    import low.two.b",
        low__two__b="x = 1",
        low__two__c="import low.one.a",
    )
    pairs = rooms(made, "low")
    assert set(pairs) == {("one", "two"), ("two", "one")}
    assert circles(pairs) == [["one", "two", "one"]]
    assert circles(module_edges(made)) == []  # no two modules do


def test_an_import_of_a_computed_name_is_seen(tmp_path: Path) -> None:
    made = tree(tmp_path, low__a="from importlib import import_module\nimport_module(f'low.{1}')")
    assert made.computed == ["low.a:2 imports f'low.{1}'"]


def test_a_relative_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="low.b:1: imports are absolute"):
        tree(tmp_path, low__a="x = 1", low__b="from . import a")
