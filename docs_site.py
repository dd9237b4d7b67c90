"""Hooks of mkdocs: the pages beside docs/ are part of the site, and links hold there as in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
BESIDE = {
    "index.md": "README.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
"""Pages of the site that lie beside docs/, and their files."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that lie beside docs/."""
    from mkdocs.structure.files import File

    for page, name in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Makes links from the repository's folders into links of the site."""
    return relinked(markdown, beside=page.file.src_uri in BESIDE)


def relinked(markdown: str, *, beside: bool) -> str:
    """The text of a page with links to other pages of the site; what links to code is text.

    Args:
        markdown: text of a page.
        beside: whether it lies beside docs/, and not in it.
    """

    pages = {name: page for page, name in BESIDE.items()}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.groups()
        if beside:
            path = target.removeprefix("docs/") if target.startswith("docs/") else pages.get(target, "")
        else:
            path = pages.get(target.removeprefix("../"), "") if target.startswith("../") else target
        if not path.endswith((".md", ".svg")):
            return words
        return f"[{words}]({path}{anchor or ''})"

    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", link, markdown)
