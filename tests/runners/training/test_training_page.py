"""docs/training.md: its Python runs, and it names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas.rules import RULES
from runners.recipe.schema import Train
from runners.tasks import TASKS

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text()


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (RULES, TASKS):  # what the page adds is taken away again
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    shared: dict[str, object] = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(snippet, "docs/training.md", "exec"), shared)


def test_every_rule_has_its_line() -> None:
    assert set(re.findall(r"^\| `(\w+)`[^|]*\|", PAGE.split("## Settings")[0], re.MULTILINE)) == set(RULES)


def test_every_setting_is_there_with_its_default() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]*) \|", PAGE.split("## Settings")[1], re.MULTILINE)
    named = {name: value for names, values in rows for name, value in pair(names, values)}
    assert set(named) == set(Train.model_fields)
    for name, value in named.items():
        default = Train.model_fields[name].default
        if isinstance(default, bool):
            assert value == str(default).lower(), name
        elif isinstance(default, (int, float)):
            assert float(value) == default, name
        elif isinstance(default, str):
            assert value == f'"{default}"', name


def pair(names: str, values: str) -> list[tuple[str, str]]:
    split = [value.strip().strip("`") for value in values.split(",")]
    return list(zip(re.findall(r"`(\w+)`", names), split, strict=True))
