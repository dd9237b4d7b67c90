"""What docs/search.md and the docstrings of the searchers show works as it stands."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from nas.search import SEARCHERS

DOCUMENT = Path(__file__).parents[3] / "docs" / "search.md"
MODULES = sorted({SEARCHERS[name].part.__module__ for name in SEARCHERS})


def test_every_snippet_runs(monkeypatch):
    monkeypatch.chdir(DOCUMENT.parents[1])
    monkeypatch.setattr(SEARCHERS, "_entries", dict(SEARCHERS._entries))  # what it registers is its own
    snippets = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    assert len(snippets) == 5
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(DOCUMENT), "exec"), names)
    assert len(names["found"].front) == 1


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_run(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_most_searchers_have_an_example():
    documented = [name for name in SEARCHERS if ">>> " in (SEARCHERS[name].part.__doc__ or "")]
    assert {"guided", "nsga2", "evolution", "linas", "slimming", "optuna_tpe"} <= set(documented)


def test_every_searcher_is_in_the_table():
    page = DOCUMENT.read_text()
    missing = [name for name in SEARCHERS if f"`{name}`" not in page]
    assert not missing


def test_every_setting_is_documented_and_in_the_table():
    page = DOCUMENT.read_text()
    for name in SEARCHERS:
        for setting in SEARCHERS[name].settings.values():
            assert setting.text, f"{name}.{setting.name} has no text in Args"
            assert f"`{setting.name}`" in page, f"docs/search.md does not name {name}.{setting.name}"
