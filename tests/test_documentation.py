"""The snippets of README.md run, and the links of all pages lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from runners.reading.check import part_problems
from runners.reading.load import validate
from runners.recipe.shipped import shipped

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_python_of_the_readme_runs() -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})


def test_the_recipe_of_the_readme_is_valid() -> None:
    """One is a whole recipe; of the other, the parts are looked at in the place of those of ``digits``."""
    keys, whole = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    validate(tomllib.loads(whole), "README.md")
    given = tomllib.loads(keys)
    recipe = validate({**shipped("digits"), **given}, "README.md")
    assert recipe.parts
    assert part_problems(recipe.model_copy(update={"parts": ()})) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_of_links_are_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
        there = page.parent / target if target else page
        assert anchor in _anchors(there), f"{page.name} links to {target}#{anchor}"


def test_the_commands_of_the_readme_exist() -> None:
    from runners.cli import app as cli

    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    for word in re.findall(r"^quarry (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert word in known
