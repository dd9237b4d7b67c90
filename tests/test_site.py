"""The documentation is a site: every page is in it, and its links hold, which the build itself checks."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs_site import BESIDE, relinked

ROOT = Path(__file__).parent.parent


def test_every_page_is_in_the_navigation() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} | set(BESIDE)
    named = {
        line.rpartition(": ")[2] for line in (ROOT / "mkdocs.yml").read_text().splitlines() if ".md" in line
    }
    assert named == pages


@pytest.mark.parametrize(
    ("beside", "given", "wanted"),
    [
        (True, "[a](docs/spaces.md#x)", "[a](spaces.md#x)"),
        (True, "[a](CHANGELOG.md)", "[a](CHANGELOG.md)"),
        (True, "[digits.toml](runners/recipe/digits.toml)", "digits.toml"),
        (False, "[a](../README.md)", "[a](index.md)"),
        (False, "[a](../ARCHITECTURE.md#words)", "[a](ARCHITECTURE.md#words)"),
        (False, "[a](search.md), ![b](blocks.svg)", "[a](search.md), ![b](blocks.svg)"),
        (False, "[a](../nas/rules/__init__.py)", "a"),
        (False, "[a](#here) [b](https://x.org)", "[a](#here) [b](https://x.org)"),
    ],
)
def test_links_hold_in_the_site(beside: bool, given: str, wanted: str) -> None:
    assert relinked(given, beside=beside) == wanted


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "<table" in (tmp_path / "site" / "glossary" / "index.html").read_text()
