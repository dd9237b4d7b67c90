"""Commands that are run by hand are still commands: what they import is there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "name",
    sorted(
        ".".join(("tests.benchmarks", *file.relative_to(HERE).with_suffix("").parts))
        for file in HERE.rglob("*.py")
        if not file.name.startswith("test_") and file.name != "conftest.py"
    ),
)
def test_what_it_imports_is_there(name: str) -> None:
    importlib.import_module(name.removesuffix(".__init__"))
