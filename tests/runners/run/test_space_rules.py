"""Rules in recipes: checked when a recipe is read, kept by whatever space it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from runners.reading.load import load_recipe
from runners.recipe.schema import Space
from runners.run.spaces import make_space
from search_spaces.space import SearchSpace

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()


def refused(*overrides: str) -> str:
    with pytest.raises(ValueError, match="space") as error:
        load_recipe("digits", overrides)
    return str(error.value)


def test_the_recipe_of_the_page_makes_a_space_that_keeps_its_rules() -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    space = make_space(Space(**tomllib.loads(toml)["space"]), classes=10, input_shape=(3, 32, 32))
    for row in space.sample(200, np.random.default_rng(0)):
        arch = space.to_arch(row)
        widths = [arch[f"stage{at}.width"] for at in range(3)]
        assert widths == sorted(widths)  # type: ignore[type-var]
        deep = {at: arch[f"stage{at}.depth"] for at in range(3)}
        for name in space.names:
            stage, _, own = name.removeprefix("stage").partition(".block")
            if own.endswith(".mixer") and int(own[0]) < int(deep[int(stage)]) and widths[int(stage)] > 96:  # type: ignore[operator]
                assert arch[name] != "attention"


def test_the_python_of_the_page_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(snippet, "docs/rules.md", "exec"), names)
    space, whole = names["space"], names["cifar"]
    assert isinstance(space, SearchSpace)
    assert isinstance(whole, SearchSpace)
    rows = whole.sample(1000, np.random.default_rng(0))
    assert 0.001 < space.valid(rows).mean() < 0.9
    assert space.size < whole.size


def test_a_rule_that_is_none_is_told_when_the_recipe_is_read() -> None:
    assert load_recipe("digits", ['space.rules=[{ ascending = ["stage*.width"] }]']).space.rules
    assert "space.rules: unknown rule 'ascnding'. Did you mean 'ascending'" in refused(
        'space.rules=[{ ascnding = ["stage*.width"] }]'
    )
    assert "space.rules: a rule is { forbid" in refused("space.rules=[{ forbid = 3 }]")


def test_a_rule_that_does_not_go_with_the_space_is_told_with_its_key() -> None:
    rules = ({"ascending": ["stage*.wdth"]},)
    with pytest.raises(ValueError, match=r"space\.rules: rules: unknown choice 'stage\*\.wdth'"):
        make_space(Space(preset="digits", rules=rules), classes=10, input_shape=(1, 8, 8))


def test_a_rule_about_what_a_profile_cannot_run_is_kept_by_leaving_it_out() -> None:
    rules = ({"forbid": {"stage0.block*.mixer": "attention"}}, {"ascending": ["stage*.width"]})
    given = Space(preset="digits", rules=rules)
    space = make_space(given, classes=10, input_shape=(1, 8, 8), without=("attention",))
    assert "attention" not in str(space.choices)
    whole = make_space(Space(preset="digits"), classes=10, input_shape=(1, 8, 8), without=("attention",))
    widths = [name for name in space.names if name.endswith(".width")]

    def falling(drawn: SearchSpace) -> int:
        archs = map(drawn.to_arch, drawn.sample(50, np.random.default_rng(0)))
        return sum(arch[widths[0]] > arch[widths[1]] for arch in archs)  # type: ignore[operator]

    assert falling(space) == 0 < falling(whole)  # the other rule is kept
