"""Texts for people begin with the thing they are about: no help, key or argument opens with a preposition."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("search_spaces", "results", "nas", "compress", "runners")
OPENING = re.compile(
    r"(of|in|on|to|that|as|with|by|for|from|at|which|into|without|under|over|than|among|through|beside|between"
    r"|and|or|but|if|where|when|likewise|see)\b",
    re.IGNORECASE,
)
"""Words that no text begins with: prepositions, conjunctions, and words that only point elsewhere."""

FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
_SECTION = re.compile(r"^(?:Args|Attributes):\n((?:(?:[ \t]+.*)?\n?)*)", re.MULTILINE)
_ITEM = re.compile(r"^ {4}\w+: (.*)", re.MULTILINE)


def opens_badly(text: str) -> bool:
    """Whether a text begins with a word that it should not begin with."""
    return OPENING.match(text.strip()) is not None


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file with their lines: docstrings and their arguments, texts below fields, help."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
            yield node.value.lineno, str(node.value.value)
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                text = inspect.cleandoc(value.value)
                yield statement.lineno, text
                for arguments in _SECTION.findall(text):
                    yield from ((statement.lineno, item) for item in _ITEM.findall(arguments))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_texts_begin_with_what_they_are_about(file: Path) -> None:
    bad = [f"line {line}: {text.splitlines()[0]}" for line, text in texts(file) if opens_badly(text)]
    assert not bad, "begin with the noun: " + "; ".join(bad)


PLANTED = '''
def f(seed, n):
    """Draws.

    Args:
        seed: of the draw.
        n: number of them.
    """

class A:
    x: int = 1
    """Of each."""

y = option(help="To train alone.")
'''


def test_a_bad_opening_is_seen(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    found = [text for _, text in texts(tmp_path / "planted.py") if opens_badly(text)]
    assert sorted(found) == ["Of each.", "To train alone.", "of the draw."]
