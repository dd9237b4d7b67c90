"""docs/blocks.md lists every mixer and gate once, with its own choices as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search_spaces.gates import GATES
from search_spaces.mixers import MIXERS, mixer

PAGE = (Path(__file__).parent.parent / "docs" / "blocks.md").read_text()
LISTED = re.findall(r"^- `(\w+)`(?: \(([^)]*)\))?: \S", PAGE, re.MULTILINE)


def test_every_mixer_and_gate_is_listed_once() -> None:
    names = [name for name, _ in LISTED]
    assert sorted(name for name in names if name in MIXERS) == sorted(MIXERS)
    assert sorted(name for name in names if name in GATES) == sorted(GATES)


@pytest.mark.parametrize("name", MIXERS)
def test_its_choices_and_settings_are_those_of_the_page(name: str) -> None:
    """Written as "choice: values, choice: values; setting, setting"."""
    one, inside = mixer(name), dict(LISTED)[name]
    chosen, _, fixed = inside.partition(";")
    own = {choice.name: [str(value) for value in choice.values] for choice in one.choices}
    found = {
        choice: re.split(r", ", values.strip(" ,"))
        for choice, values in re.findall(r"`(\w+)`: ([^`]*)", chosen)
    }
    assert found == own
    assert set(re.findall(r"`(\w+)`", fixed)) == set(one.settings) - set(own)
