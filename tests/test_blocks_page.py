"""docs/blocks.md lists every mixer, gate and other part once, with its own choices as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from results.registry import Registry
from search_spaces.channel_mixers import CHANNEL_MIXERS
from search_spaces.entries import ENTRIES
from search_spaces.gates import GATES
from search_spaces.mixers import MIXERS
from search_spaces.norms import NORMS
from search_spaces.operations.operation import Operation
from search_spaces.residuals import RESIDUALS

PAGE = (Path(__file__).parent.parent / "docs" / "blocks.md").read_text()
LISTED = re.findall(r"^- `(\w+)`(?: \(([^)]*)\))?: \S", PAGE, re.MULTILINE)


OPERATIONS: dict[str, Operation] = {
    name: registry[name].part
    for registry in (MIXERS, CHANNEL_MIXERS, RESIDUALS, ENTRIES)
    for name in registry
}


@pytest.mark.parametrize(
    "registry", [MIXERS, CHANNEL_MIXERS, NORMS, RESIDUALS, ENTRIES, GATES], ids=lambda one: str(one.kind)
)
def test_every_part_is_listed_once(registry: Registry[Any]) -> None:
    names = [name for name, _ in LISTED]
    assert sorted(name for name in names if name in registry) == sorted(registry)


@pytest.mark.parametrize("name", OPERATIONS)
def test_its_choices_and_settings_are_those_of_the_page(name: str) -> None:
    """Written as "choice: values, choice: values; setting, setting"."""
    one, inside = OPERATIONS[name], dict(LISTED)[name]
    chosen, _, fixed = inside.partition(";")
    own = {choice.name: [str(value) for value in choice.values] for choice in one.choices}
    found = {
        choice: re.split(r", ", values.strip(" ,"))
        for choice, values in re.findall(r"`(\w+)`: ([^`]*)", chosen)
    }
    assert found == own
    assert set(re.findall(r"`(\w+)`", fixed)) == set(one.settings) - set(own)
