"""What docs/ways_to_rank.md shows works as it stands, and it names every proxy."""

from __future__ import annotations

import re
from pathlib import Path

from nas.proxies import PROXIES

PAGE = (Path(__file__).parents[2] / "docs" / "ways_to_rank.md").read_text()


def test_the_snippets_run() -> None:
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "ways_to_rank.md", "exec"), names)


def test_every_proxy_and_setting_is_named() -> None:
    for name in PROXIES:
        assert f"`{name}`" in PAGE
        for setting in PROXIES[name].settings.values():
            assert setting.text
            assert f"`{setting.name}`" in PAGE
