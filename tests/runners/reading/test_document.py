"""docs/recipe.md is what the code says: every key, every part, every setting, with a text each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nas.rules import RULES
from runners.reading.document import page
from runners.reading.registries import registries
from runners.recipe.keys import fields, holds_part, holds_parts

PAGE = Path(__file__).parents[3] / "docs" / "recipe.md"


def test_the_page_is_what_the_code_says() -> None:
    stale = "docs/recipe.md is stale; run: python -m runners.reading.document > docs/recipe.md"
    assert PAGE.read_text() == page() + "\n", stale


def test_every_key_of_parts_has_its_registry() -> None:
    keys = {key for key, _ in fields() if holds_part(key.split(".")) or holds_parts(key.split("."))}
    assert keys
    assert keys <= set(registries())


def test_every_key_has_a_text() -> None:
    assert [key for key, field in fields() if not field.description] == []


@pytest.mark.parametrize("key", sorted(registries()))
def test_every_part_and_setting_has_a_text(key: str) -> None:
    registry = registries()[key]
    assert [name for name in registry if not registry[name].summary] == []
    assert [
        f"{name}.{setting.name}"
        for name in registry
        for setting in registry[name].settings.values()
        if not setting.text
    ] == []


def test_its_snippets_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES, "_entries", dict(RULES._entries))
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert tomllib.loads(toml)["compress"]["steps"] == [{"kind": "prune", "keep": [0.75, 0.5]}]
    (python,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(python, "docs/recipe.md", "exec"), {})
    assert "few" in RULES
