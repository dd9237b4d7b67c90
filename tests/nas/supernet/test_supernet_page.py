"""docs/supernet.md: its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search_spaces.mixers import MIXERS

PAGE = (Path(__file__).parents[3] / "docs" / "supernet.md").read_text()


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))  # what it registers is taken away again
    names: dict[str, object] = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(snippet, "docs/supernet.md", "exec"), names)
