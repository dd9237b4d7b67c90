"""What docs/search.md shows works as it stands."""

import re
from pathlib import Path

import nas.search.registry  # noqa: F401  (or what the snippets register would be all there is)
from nas.search import searcher

DOCUMENT = Path(__file__).parents[3] / "docs" / "search.md"


def test_every_snippet_runs(monkeypatch):
    monkeypatch.chdir(DOCUMENT.parents[1])
    monkeypatch.setattr(searcher, "_SEARCHERS", dict(searcher._SEARCHERS))  # what it registers is its own
    snippets = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    assert len(snippets) == 4
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(DOCUMENT), "exec"), names)
    assert len(names["found"].front) == 1
