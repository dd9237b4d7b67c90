"""docs/spaces.md: its snippets are right, and its table says what the presets hold."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import pytest

from runners.recipe.schema import Space
from search_spaces.blocks import BLOCKS
from search_spaces.space import SearchSpace
from search_spaces.spaces.fast import CONVNETS
from search_spaces.spaces.known import KNOWN
from search_spaces.spaces.presets import preset

PAGE = (Path(__file__).parents[3] / "docs" / "spaces.md").read_text()


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BLOCKS, "_entries", dict(BLOCKS._entries))  # what it registers is taken away again
    names: dict[str, object] = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(snippet, "docs/spaces.md", "exec"), names)
    assert isinstance(names["space"], SearchSpace)


def test_its_recipes_are_spaces() -> None:
    made = {}
    for toml in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        given = Space(**tomllib.loads(toml)["space"])
        made[given.preset] = preset(
            given.preset, classes=10, input_shape=(3, 64, 64), blocks=given.blocks, options=given.options
        )
    assert "stage0.mbconv.expansion" in made["fast-32"].names
    assert "stage1.block0.mbconv.kernel" in made["mobilenetv3"].names


@pytest.mark.parametrize("name", CONVNETS)
def test_the_table_says_what_a_preset_holds(name: str) -> None:
    side = int(name.partition("-")[2])
    space = preset(name, classes=10, input_shape=(3, side, side))
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    *_, stages, networks, layers, _ = (cell.strip() for cell in row.split("|"))
    assert int(stages) == len(CONVNETS[name].stages)
    assert int(layers) == len(space.layers)
    number, _, million = networks.replace(",", "").partition(" ")
    assert float(number) * (1e6 if million else 1) == pytest.approx(space.size, rel=0.05)


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_says_what_a_published_space_holds(name: str) -> None:
    space = preset(name, classes=1000, input_shape=(3, 224, 224))
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    *_, networks, layers, parameters, macs, _ = (cell.strip() for cell in row.split("|"))
    assert networks == f"10^{round(math.log10(space.size))}"
    assert int(layers) == len(space.layers)
    published = [float(figure.split("(")[1].rstrip(")")) for figure in (parameters, macs)]
    assert published == [KNOWN[name].parameters / 1e6, KNOWN[name].macs / 1e6]


def test_it_names_every_block() -> None:
    assert [name for name in BLOCKS if f"| `{name}` |" not in PAGE] == []
